"""LTX-2's transformer in files, as far as it is of pictures that move: its names in diffusers and at Lightricks, its
``config.json``.

diffusers' class has a half of sound beside it, which is left out as such a file is read; a file that is written here
holds the half of pictures alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sanakit.checkpoints.networks.config_fields import DIFFUSERS_VERSION, choose, count, number, require
from sanakit.checkpoints.networks.key_maps import Drop, Fuse, KeyMap, Rename, Row
from sanakit.checkpoints.networks.kind import Json, NetworkKind
from sanakit.common.errors import CheckpointError
from sanakit.models.transformers.ltx2_video import LTX2Video, LTX2VideoConfig

ROPE_HALVES = {"split": True, "interleaved": False}
"""By what diffusers calls the two."""
_REASON = "it is of sound, which clips here have none of"
_LACK = "diffusers opens the file only beside the other half, of sound"
_ATTENTION = ("norm_k", "norm_q", "to_k", "to_out.0", "to_q", "to_v")
# What another network would need, with the values that ours computes.
_BUILT_IN: Json = {
    "activation_fn": "gelu-approximate", "attention_bias": True, "attention_out_bias": True, "causal_offset": 1,
    "cross_attn_mod": False, "ff_bias": True, "gated_attn": False, "norm_elementwise_affine": False, "norm_eps": 1e-6,
    "patch_size": 1, "patch_size_t": 1, "perturbed_attn": False, "qk_norm": "rms_norm_across_heads",
    "rope_double_precision": True, "timestep_scale_multiplier": 1000, "use_keyframes_abs_pos_embedding": False,
    "use_prompt_embeddings": True,
}  # fmt: skip
# Of the half of sound, which may have any, and of what neither half of ours uses: diffusers' own values.
_OF_SOUND: Json = {
    "audio_cross_attention_dim": 2048, "audio_attention_head_dim": 64, "audio_cross_attn_mod": False,
    "audio_ff_bias": True, "audio_gated_attn": False, "audio_hop_length": 160, "audio_in_channels": 128,
    "audio_num_attention_heads": 32, "audio_out_channels": 128, "audio_patch_size": 1, "audio_patch_size_t": 1,
    "audio_pos_embed_max_pos": 20, "audio_sampling_rate": 16000, "audio_scale_factor": 4,
    "cross_attn_timestep_scale_multiplier": 1000, "use_prompt_adaln_single": True,
}  # fmt: skip


def attention_rows(ours: str, theirs: str) -> list[Row]:
    """Of a self-attention with one table of queries, keys and values."""
    return [
        Fuse(f"{ours}.qkv.{{leaf}}", tuple(f"{theirs}.to_{part}.{{leaf}}" for part in "qkv")),
        *(Rename(f"{ours}.norm_{part}.{{leaf}}", f"{theirs}.norm_{part}.{{leaf}}") for part in "qk"),
        Rename(f"{ours}.out.{{leaf}}", f"{theirs}.to_out.0.{{leaf}}"),
    ]


def ffn_rows(ours: str, theirs: str) -> list[Row]:
    """Of a plain feed-forward layer."""
    parts = {"expand": "net.0.proj", "project": "net.2"}
    return [Rename(f"{ours}.{our}.{{leaf}}", f"{theirs}.{their}.{{leaf}}") for our, their in parts.items()]


def _embedding(ours: str, theirs: str) -> Row:
    return Rename(f"{ours}.linear_{{n}}.{{leaf}}", f"{theirs}.linear_{{n}}.{{leaf}}")


def _sound() -> list[Row]:
    """Every tensor of the other half."""
    steps = [f"av_cross_attn_{name}" for name in ("video_scale_shift", "audio_scale_shift", "video_a2v_gate")]
    names = ["audio_proj_in.{leaf}", "audio_proj_out.{leaf}", "audio_caption_projection.linear_{n}.{leaf}"]
    for each in (*steps, "av_cross_attn_audio_v2a_gate", "audio_time_embed"):
        names += [f"{each}.linear.{{leaf}}", f"{each}.emb.timestep_embedder.linear_{{n}}.{{leaf}}"]
    block = "transformer_blocks.{n}"
    for attention in ("audio_attn1", "audio_attn2", "audio_to_video_attn", "video_to_audio_attn"):
        names += [f"{block}.{attention}.{part}.{{leaf}}" for part in _ATTENTION]
    names += [f"{block}.audio_ff.{part}.{{leaf}}" for part in ("net.0.proj", "net.2")]
    tables = ("audio_scale_shift_table", "video_a2v_cross_attn_scale_shift_table")
    names += ["audio_scale_shift_table", *(f"{block}.{each}" for each in tables)]
    return [Drop(name, _REASON, _LACK) for name in (*names, f"{block}.audio_a2v_cross_attn_scale_shift_table")]


DIFFUSERS_LTX2_VIDEO = KeyMap(
    layout="diffusers",
    rows=(
        Rename("patch_embed.{leaf}", "proj_in.{leaf}"),
        _embedding("time_embed", "time_embed.emb.timestep_embedder"),
        Rename("modulation.{leaf}", "time_embed.linear.{leaf}"),
        _embedding("caption_projection", "caption_projection"),
        Rename("final_scale_shift_table", "scale_shift_table"),
        Rename("final.{leaf}", "proj_out.{leaf}"),
        Rename("blocks.{n}.scale_shift_table", "transformer_blocks.{n}.scale_shift_table"),
        *attention_rows("blocks.{n}.attention", "transformer_blocks.{n}.attn1"),
        Rename("blocks.{n}.cross_attention.q.{leaf}", "transformer_blocks.{n}.attn2.to_q.{leaf}"),
        Fuse(
            "blocks.{n}.cross_attention.kv.{leaf}",
            tuple(f"transformer_blocks.{{n}}.attn2.to_{part}.{{leaf}}" for part in "kv"),
        ),
        *attention_rows("blocks.{n}.cross_attention", "transformer_blocks.{n}.attn2")[1:],
        *ffn_rows("blocks.{n}.ffn", "transformer_blocks.{n}.ff"),
        *_sound(),
    ),
)

LIGHTRICKS_LTX2_VIDEO = DIFFUSERS_LTX2_VIDEO.renamed(
    "upstream",
    {
        "audio_a2v_cross_attn_scale_shift_table": "scale_shift_table_a2v_ca_audio",
        "audio_proj_in": "audio_patchify_proj", "audio_time_embed": "audio_adaln_single",
        "av_cross_attn_audio_scale_shift": "av_ca_audio_scale_shift_adaln_single",
        "av_cross_attn_audio_v2a_gate": "av_ca_v2a_gate_adaln_single",
        "av_cross_attn_video_a2v_gate": "av_ca_a2v_gate_adaln_single",
        "av_cross_attn_video_scale_shift": "av_ca_video_scale_shift_adaln_single",
        "norm_k": "k_norm", "norm_q": "q_norm", "proj_in": "patchify_proj", "time_embed": "adaln_single",
        "video_a2v_cross_attn_scale_shift_table": "scale_shift_table_a2v_ca_video",
    },
)  # fmt: skip


def find_ltx2_video_layout(names: Collection[str]) -> KeyMap | None:
    """The layout that a file's names are in; None when it is no such network."""
    marks = ("patch_embed.weight", "caption_projection.linear_1.weight", "blocks.0.ffn.expand.weight")
    for layout in (DIFFUSERS_LTX2_VIDEO, LIGHTRICKS_LTX2_VIDEO):
        if all(layout.find_ours(mark)[1][0] in names for mark in marks):
            return layout
    return None


def ltx2_video_to_json(config: LTX2VideoConfig) -> Json:
    """``LTX2VideoTransformer3DModel``'s ``config.json``."""
    fields = {
        **_BUILT_IN,
        **_OF_SOUND,
        "_class_name": "LTX2VideoTransformer3DModel",
        "_diffusers_version": DIFFUSERS_VERSION,
        "attention_head_dim": config.head_dim,
        "base_height": config.trained_on[1],
        "base_width": config.trained_on[2],
        "caption_channels": config.caption_channels,
        "cross_attention_dim": config.hidden_size,
        "in_channels": config.in_channels,
        "num_attention_heads": config.hidden_size // config.head_dim,
        "num_layers": config.num_layers,
        "out_channels": config.in_channels,
        "pos_embed_max_pos": config.trained_on[0],
        "rope_theta": config.rope_theta,
        "rope_type": "split" if config.rope_halves else "interleaved",
        "vae_scale_factors": list(config.reach),
    }
    return dict(sorted(fields.items()))


def _from_json(fields: Mapping[str, Any]) -> LTX2VideoConfig:
    """Our config; absent fields take the defaults of diffusers' class."""
    for name, value in _BUILT_IN.items():
        require(fields, name, value)
    head_dim, in_channels = count(fields, "attention_head_dim", 128), count(fields, "in_channels", 128)
    hidden_size = head_dim * count(fields, "num_attention_heads", 32)
    require(fields, "cross_attention_dim", hidden_size, default=4096)
    require(fields, "out_channels", in_channels, default=128)
    reach = fields.get("vae_scale_factors", (8, 32, 32))
    if not isinstance(reach, (list, tuple)) or len(reach) != 3:
        raise CheckpointError(f"vae_scale_factors in config.json is {reach!r}; it should be of time, rows and columns")
    time, rows, columns = (count({"vae_scale_factors": each}, "vae_scale_factors", 1) for each in reach)
    sides = (count(fields, f"base_{side}", 2048) for side in ("height", "width"))
    return LTX2VideoConfig(
        hidden_size=hidden_size,
        num_layers=count(fields, "num_layers", 48),
        head_dim=head_dim,
        in_channels=in_channels,
        caption_channels=count(fields, "caption_channels", 3840),
        reach=(time, rows, columns),
        trained_on=(count(fields, "pos_embed_max_pos", 20), *sides),  # type: ignore[arg-type]
        rope_theta=number(fields, "rope_theta", 10_000.0),
        rope_halves=choose("rope_type", fields.get("rope_type", "interleaved"), ROPE_HALVES),
    )


LTX2_VIDEO = NetworkKind(
    component="refiner",
    folder="transformer",
    class_name="LTX2VideoTransformer3DModel",
    noun="LTX-2 transformer",
    build=LTX2Video,
    to_json=ltx2_video_to_json,
    from_json=_from_json,
    published=[LTX2VideoConfig()],
    layout_of=find_ltx2_video_layout,
    layouts=lambda config: {"diffusers": DIFFUSERS_LTX2_VIDEO, "upstream": LIGHTRICKS_LTX2_VIDEO},
)
