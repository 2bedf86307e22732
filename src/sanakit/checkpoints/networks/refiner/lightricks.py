"""LTX-2 in Lightricks' own files, and as ComfyUI splits these: one file of several networks, whose ``config`` in the
metadata is of all of them. Names of tensors are in the file of each network; here a file is taken apart, and what the
config says of a network is said in diffusers' words.

Source: Lightricks/LTX-2 (``ltx-core``), and diffusers' script that converts these files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sanakit.checkpoints.files.reader import WeightHeader
from sanakit.checkpoints.networks.config_fields import count, counts, lower, require, sequence
from sanakit.checkpoints.networks.kind import Json, NetworkKind
from sanakit.checkpoints.networks.ltx2 import LTX2
from sanakit.checkpoints.networks.refiner.latent_upsampler import LATENT_UPSAMPLER
from sanakit.checkpoints.networks.refiner.ltx2_connectors import LTX2_CONNECTORS, PROJECTIONS
from sanakit.checkpoints.networks.refiner.ltx2_video import LTX2_VIDEO
from sanakit.common.errors import CheckpointError

_WRAPPER, _AUTOENCODER = "model.diffusion_model.", "vae."
_CONNECTORS = ("text_embedding_projection.", "video_embeddings_connector.", "audio_embeddings_connector.")
_SOUND = ("audio_vae.", "vocoder.")
_MARKS = ("patchify_proj.weight", "per_channel_statistics.mean-of-means", "learnable_registers")
# What the two configs call the same; of sizes that shapes show as well, the shapes have the last word.
_OF_TRANSFORMER = {
    "activation_fn": "activation_fn", "apply_gated_attention": "gated_attn", "attention_bias": "attention_bias",
    "attention_head_dim": "attention_head_dim", "caption_channels": "caption_channels",
    "cross_attention_adaln": "cross_attn_mod", "cross_attention_dim": "cross_attention_dim", "ff_bias": "ff_bias",
    "in_channels": "in_channels", "norm_elementwise_affine": "norm_elementwise_affine", "norm_eps": "norm_eps",
    "num_attention_heads": "num_attention_heads", "num_layers": "num_layers", "out_channels": "out_channels",
    "positional_embedding_theta": "rope_theta", "timestep_scale_multiplier": "timestep_scale_multiplier",
    "use_keyframes_abs_pos_embedding": "use_keyframes_abs_pos_embedding",
}  # fmt: skip
_OF_CONNECTORS = {
    "caption_channels": "caption_channels", "caption_proj_before_connector": "per_modality_projections",
    "connector_apply_gated_attention": "video_gated_attn",
    "connector_attention_head_dim": "video_connector_attention_head_dim",
    "connector_num_attention_heads": "video_connector_num_attention_heads",
    "connector_num_layers": "video_connector_num_layers",
    "connector_num_learnable_registers": "video_connector_num_learnable_registers",
    "positional_embedding_theta": "rope_theta",
}  # fmt: skip
_OF_UPSAMPLER = {
    name: name for name in ("dims", "in_channels", "mid_channels", "num_blocks_per_stage", "spatial_upsample",
                            "temporal_upsample")
} | {"spatial_scale": "rational_spatial_scale"}  # fmt: skip
_MOST_BLOCKS = 64  # of a side; a damaged file has no end
_STEPS = {"compress_space_res": "spatial", "compress_time_res": "temporal", "compress_all_res": "spatiotemporal"}


def networks_of(header: WeightHeader) -> list[WeightHeader]:
    """The networks of a file of LTX-2, each as if it were alone; those of sound are left out. Any other file is one."""
    if not any(name.endswith(_MARKS) for name in header.tensors):
        return [header]
    places: dict[str, dict[str, str]] = {}
    for name in header.tensors:
        if not name.startswith(_SOUND):
            bare = name.removeprefix(_WRAPPER)
            network = "connectors" if bare.startswith(_CONNECTORS) else "vae" if name.startswith(_AUTOENCODER) else ""
            places.setdefault(network, {})[bare.removeprefix(_AUTOENCODER)] = name
    return [_of_names(header, names) for names in places.values()] or [header]


def _of_names(header: WeightHeader, names: Mapping[str, str]) -> WeightHeader:
    tensors, stored = ({bare: part[name] for bare, name in names.items()} for part in (header.tensors, header.stored))
    return replace(header, tensors=tensors, stored=stored)  # type: ignore[arg-type]


def from_lightricks(kind: NetworkKind[Any, Any], config: Json, header: WeightHeader) -> Json | None:
    """diffusers' ``config.json`` of one of these networks from the config in such a file; None where it says nothing
    of it, and ``config`` itself where it is no such config.

    Raises:
        CheckpointError: it is of a network that ours does not compute.
    """
    if config.get("_class_name") == "LatentUpsampler":
        return _renamed(config, _OF_UPSAMPLER) if kind is LATENT_UPSAMPLER else None
    if not isinstance(config.get("transformer", {}), dict) or not config.keys() & {"transformer", "vae", "audio_vae"}:
        return config
    part = config.get("vae" if kind is LTX2 else "transformer")
    if not isinstance(part, dict) or kind not in (LTX2, LTX2_VIDEO, LTX2_CONNECTORS):
        return None
    if kind is LTX2:
        return _autoencoder(part)
    return _transformer(part) if kind is LTX2_VIDEO else _connectors(part, header)


def _renamed(fields: Json, names: Mapping[str, str]) -> Json:
    return {ours: fields[theirs] for theirs, ours in names.items() if fields.get(theirs) is not None}


def _turns(fields: Json) -> Json:
    """Of the positions, which both networks have."""
    double = fields.get("frequencies_precision") == "float64"
    return {"rope_double_precision": double, "rope_type": lower(fields.get("rope_type", "interleaved"))}


def _transformer(fields: Json) -> Json:
    require(fields, "use_middle_indices_grid", True, default=False)
    for name in ("qk_norm", "standardization_norm"):
        require(fields, name, "rms_norm")
    trained = counts(fields, "positional_embedding_max_pos", (20, 2048, 2048))
    return {
        **_renamed(fields, _OF_TRANSFORMER),
        **_turns(fields),
        **dict(zip(("pos_embed_max_pos", "base_height", "base_width"), trained, strict=False)),
        "causal_offset": 1 if fields.get("causal_temporal_positioning", False) else 0,
    }


def _connectors(fields: Json, header: WeightHeader) -> Json:
    """How many states of a token are read shows in the projection alone."""
    require(fields, "connector_norm_output", True)
    info = next((header.tensors[name] for name in PROJECTIONS if name in header.tensors), None)
    channels = count(fields, "caption_channels", 3840)
    states = {} if info is None or len(info.shape) != 2 else {"text_proj_in_factor": info.shape[1] // channels}
    trained = counts(fields, "connector_positional_embedding_max_pos", (4096,))
    positions = {} if len(trained) != 1 else {"connector_rope_base_seq_len": trained[0]}
    return {**_renamed(fields, _OF_CONNECTORS), **_turns(fields), **states, **positions}


def _autoencoder(fields: Json) -> Json:
    """Blocks are listed from the pixels on, those of the decoder too: residual ones, and a step between every two."""
    for name, value in {
        "dims": 3, "norm_layer": "pixel_norm", "timestep_conditioning": False, "use_quant_conv": False,
        "encoder_base_channels": fields.get("latent_channels"),
    }.items():  # fmt: skip
        require(fields, name, value)
    layers, steps = _blocks(fields, "encoder_blocks")
    decoder_layers, ups = _blocks(fields, "decoder_blocks")
    for name, step in ups:
        if name != "compress_all" or not step.get("residual"):
            raise CheckpointError(
                f"the decoder in the config has the step {name} {step}, as later LTX-2 have; ours has compress_all "
                f"with a residual, as LTX-2.0 has"
            )
    around = fields.get("spatial_padding_mode")
    return {
        "block_out_channels": _widths(count(fields, "encoder_base_channels", 128), steps),
        "decoder_block_out_channels": _widths(count(fields, "decoder_base_channels", 128), ups),
        "decoder_causal": fields.get("causal_decoder", False),
        "decoder_layers_per_block": decoder_layers,
        "decoder_spatial_padding_mode": fields.get("decoder_spatial_padding_mode", around or "reflect"),
        "downsample_type": [_STEPS.get(name, name) for name, _ in steps],
        "encoder_spatial_padding_mode": fields.get("encoder_spatial_padding_mode", around or "zeros"),
        "layers_per_block": layers,
        **_renamed(fields, {name: name for name in ("in_channels", "latent_channels", "out_channels", "patch_size")}),
    }


def _blocks(fields: Json, side: str) -> tuple[list[int], list[tuple[str, Json]]]:
    """How many residual blocks stand before, between and behind the steps; the steps."""
    found = [*map(_pair, sequence(side, fields.get(side, ())))]
    residual, steps = found[::2], found[1::2]
    if (
        len(found) % 2 == 0
        or len(found) > _MOST_BLOCKS
        or any(name != "res_x" or step.get("inject_noise") for name, step in residual)
    ):
        raise CheckpointError(
            f"{side} in the config is {fields.get(side)!r}; ours are res_x with a step between each two"
        )
    return [count(step, "num_layers", 1, least=0) for _, step in residual], steps


def _pair(block: Any) -> tuple[str, Json]:
    match block:
        case [str(name), dict(settings)]:
            return name, settings
        case [str(name), int(layers)]:
            return name, {"num_layers": layers}
        case _:
            raise CheckpointError(f"a block in the config is {block!r}; it should be a name and its settings")


def _widths(base: int, steps: list[tuple[str, Json]]) -> list[int]:
    multiples = [count(step, "multiplier", 1) for _, step in steps]
    return [base * math.prod(multiples[: index + 1]) for index in range(len(steps))]
