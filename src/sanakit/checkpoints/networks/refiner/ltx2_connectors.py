"""LTX-2's text connectors in files: their names in diffusers and at Lightricks, their ``config.json``; those of sound
are left out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from sanakit.checkpoints.networks.config_fields import DIFFUSERS_VERSION, choose, count, number, require
from sanakit.checkpoints.networks.key_maps import Drop, KeyMap, Rename
from sanakit.checkpoints.networks.kind import Json, NetworkKind
from sanakit.checkpoints.networks.refiner.ltx2_video import ROPE_HALVES, attention_rows, ffn_rows
from sanakit.models.text.ltx2_connectors import LTX2Connectors, LTX2ConnectorsConfig

_BUILT_IN: Json = {
    "causal_temporal_positioning": False, "per_modality_projections": False, "proj_bias": False,
    "rope_double_precision": True, "video_gated_attn": False,
}  # fmt: skip
# Of sound, and of layouts that ours is not of: diffusers' own values.
_OF_SOUND: Json = {
    "audio_connector_attention_head_dim": 128, "audio_connector_num_attention_heads": 30,
    "audio_connector_num_layers": 2, "audio_connector_num_learnable_registers": 128, "audio_gated_attn": False,
    "audio_hidden_dim": 2048, "video_hidden_dim": 4096,
}  # fmt: skip
_BLOCK, _SOUND = "video_connector.transformer_blocks.{n}", "audio_connector.transformer_blocks.{n}"
_NAMES = (
    "audio_connector.learnable_registers",
    *(f"{_SOUND}.attn1.{part}.{{leaf}}" for part in ("norm_k", "norm_q", "to_k", "to_out.0", "to_q", "to_v")),
    *(f"{_SOUND}.ff.{part}.{{leaf}}" for part in ("net.0.proj", "net.2")),
)

DIFFUSERS_LTX2_CONNECTORS = KeyMap(
    layout="diffusers",
    rows=(
        Rename("project.{leaf}", "text_proj_in.{leaf}"),
        Rename("registers", "video_connector.learnable_registers"),
        *attention_rows("blocks.{n}.attention", f"{_BLOCK}.attn1"),
        *ffn_rows("blocks.{n}.ffn", f"{_BLOCK}.ff"),
        *(
            Drop(name, "it is of sound, which clips here have none of", "diffusers wants those of sound beside it")
            for name in _NAMES
        ),
    ),
)

PROJECTIONS = tuple(f"text_embedding_projection.{name}weight" for name in ("aggregate_embed.", ""))
"""At Lightricks, and in files that ComfyUI saves."""
_THEIRS = DIFFUSERS_LTX2_CONNECTORS.renamed(
    "upstream",
    {
        "audio_connector": "audio_embeddings_connector", "norm_k": "k_norm", "norm_q": "q_norm",
        "text_proj_in": "text_embedding_projection.aggregate_embed", "transformer_blocks": "transformer_1d_blocks",
        "video_connector": "video_embeddings_connector",
    },
)  # fmt: skip
LIGHTRICKS_LTX2_CONNECTORS = replace(_THEIRS, rows=(*_THEIRS.rows, Rename("project.weight", PROJECTIONS[1])))


def find_connectors_layout(names: Collection[str]) -> KeyMap | None:
    """The layout that a file's names are in; None when it is no such network."""
    if "text_proj_in.weight" in names and "video_connector.learnable_registers" in names:
        return DIFFUSERS_LTX2_CONNECTORS
    if any(name in names for name in PROJECTIONS) and "video_embeddings_connector.learnable_registers" in names:
        return LIGHTRICKS_LTX2_CONNECTORS
    return None


def connectors_to_json(config: LTX2ConnectorsConfig) -> Json:
    """``LTX2TextConnectors``'s ``config.json``."""
    fields = {
        **_BUILT_IN,
        **_OF_SOUND,
        "_class_name": "LTX2TextConnectors",
        "_diffusers_version": DIFFUSERS_VERSION,
        "caption_channels": config.caption_channels,
        "connector_rope_base_seq_len": config.trained_on,
        "rope_theta": config.rope_theta,
        "rope_type": "split" if config.rope_halves else "interleaved",
        "text_proj_in_factor": config.num_states,
        "video_connector_attention_head_dim": config.head_dim,
        "video_connector_num_attention_heads": config.caption_channels // config.head_dim,
        "video_connector_num_layers": config.num_layers,
        "video_connector_num_learnable_registers": config.num_registers,
    }
    return dict(sorted(fields.items()))


def _from_json(fields: Mapping[str, Any]) -> LTX2ConnectorsConfig:
    """Our config; absent fields take the defaults of diffusers' class."""
    for name, value in _BUILT_IN.items():
        require(fields, name, value)
    channels, head_dim = (
        count(fields, "caption_channels", 3840),
        count(fields, "video_connector_attention_head_dim", 128),
    )
    require(fields, "video_connector_num_attention_heads", channels // head_dim, default=30)
    registers = count(fields, "video_connector_num_learnable_registers", 128)
    published = LTX2ConnectorsConfig().max_tokens
    return LTX2ConnectorsConfig(
        caption_channels=channels,
        num_states=count(fields, "text_proj_in_factor", 49),
        num_layers=count(fields, "video_connector_num_layers", 2, least=0),
        head_dim=head_dim,
        num_registers=registers,
        max_tokens=published if published % registers == 0 else registers,
        trained_on=count(fields, "connector_rope_base_seq_len", 4096),
        rope_theta=number(fields, "rope_theta", 10_000.0),
        rope_halves=choose("rope_type", fields.get("rope_type", "interleaved"), ROPE_HALVES),
    )


LTX2_CONNECTORS = NetworkKind(
    component="connectors",
    folder="connectors",
    class_name="LTX2TextConnectors",
    noun="LTX-2 text connector",
    build=LTX2Connectors,
    to_json=connectors_to_json,
    from_json=_from_json,
    published=[LTX2ConnectorsConfig()],
    layout_of=find_connectors_layout,
    layouts=lambda config: {"diffusers": DIFFUSERS_LTX2_CONNECTORS, "upstream": LIGHTRICKS_LTX2_CONNECTORS},
)
