"""Wan 2.1's autoencoder in files: its names in diffusers and upstream, its ``config.json``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sanakit.checkpoints.networks.config_fields import DIFFUSERS_VERSION, count, counts, flag, require, sequence
from sanakit.checkpoints.networks.key_maps import KeyMap, Rename, Row
from sanakit.checkpoints.networks.kind import Json, NetworkKind
from sanakit.common.errors import CheckpointError
from sanakit.models.autoencoders.wan import WanAutoencoder, WanAutoencoderConfig

_BLOCK = {"norm1": "norm1", "conv1": "conv1", "norm2": "norm2", "conv2": "conv2", "shortcut": "conv_shortcut"}
_UPSTREAM_BLOCK = {
    "norm1": "residual.0", "conv1": "residual.2", "norm2": "residual.3", "conv2": "residual.6", "shortcut": "shortcut"
}  # fmt: skip
_ATTENTION = {"norm": "norm", "qkv": "to_qkv", "out": "proj"}
_RESAMPLE = {"space": "resample.1", "time": "time_conv"}
_BUILT_IN = {"attn_scales": [], "dropout": 0.0, "is_residual": False}


def _rows(ours: str, theirs: str, names: Mapping[str, str]) -> list[Row]:
    return [Rename(f"{ours}.{our}.{{leaf}}", f"{theirs}.{their}.{{leaf}}") for our, their in names.items()]


def _diffusers() -> KeyMap:
    rows: list[Row] = [
        Rename("latent_out.{leaf}", "quant_conv.{leaf}"),
        Rename("latent_in.{leaf}", "post_quant_conv.{leaf}"),
        *_rows("encoder.blocks.{n}", "encoder.down_blocks.{n}", _BLOCK | _RESAMPLE),
        *_rows("decoder.stages.{n}.blocks.{m}", "decoder.up_blocks.{n}.resnets.{m}", _BLOCK),
        *_rows("decoder.stages.{n}.up", "decoder.up_blocks.{n}.upsamplers.0", _RESAMPLE),
    ]
    for side in ("encoder", "decoder"):
        rows += _rows(side, side, {name: name for name in ("conv_in", "norm_out", "conv_out")})
        rows += _rows(f"{side}.middle.0", f"{side}.mid_block.resnets.0", _BLOCK)
        rows += _rows(f"{side}.middle.1", f"{side}.mid_block.attentions.0", _ATTENTION)
        rows += _rows(f"{side}.middle.2", f"{side}.mid_block.resnets.1", _BLOCK)
    return KeyMap(layout="diffusers", rows=tuple(rows))


DIFFUSERS_WAN = _diffusers()


def upstream_wan(num_blocks: int, num_stages: int = 8) -> KeyMap:
    """Where the decoder's blocks, ``num_blocks`` a stage, and the steps between stages are counted through."""
    rows: list[Row] = [
        Rename("latent_out.{leaf}", "conv1.{leaf}"),
        Rename("latent_in.{leaf}", "conv2.{leaf}"),
        *_rows("encoder.blocks.{n}", "encoder.downsamples.{n}", _UPSTREAM_BLOCK | _RESAMPLE),
    ]
    for stage in range(num_stages):
        first = stage * (num_blocks + 1)
        for block in range(num_blocks):
            theirs = f"decoder.upsamples.{first + block}"
            rows += _rows(f"decoder.stages.{stage}.blocks.{block}", theirs, _UPSTREAM_BLOCK)
        rows += _rows(f"decoder.stages.{stage}.up", f"decoder.upsamples.{first + num_blocks}", _RESAMPLE)
    for side in ("encoder", "decoder"):
        rows += _rows(side, side, {"conv_in": "conv1", "norm_out": "head.0", "conv_out": "head.2"})
        for block, names in enumerate((_UPSTREAM_BLOCK, _ATTENTION, _UPSTREAM_BLOCK)):
            rows += _rows(f"{side}.middle.{block}", f"{side}.middle.{block}", names)
    return KeyMap(layout="upstream", rows=tuple(rows))


def find_wan_layout(names: Collection[str]) -> KeyMap | None:
    """The layout that a file's names are in; None when it is no such autoencoder."""
    if "encoder.mid_block.resnets.0.norm1.gamma" in names:
        return DIFFUSERS_WAN
    if "encoder.middle.0.residual.0.gamma" in names:
        steps = (n for n in range(100) if f"decoder.upsamples.{n}.resample.1.weight" in names)
        return upstream_wan(next(steps, 3))
    return None


def wan_to_json(config: WanAutoencoderConfig) -> Json:
    """``AutoencoderKLWan``'s ``config.json``; refuses what that class cannot express."""
    base = config.channels[0]
    if any(channels % base for channels in config.channels):
        raise CheckpointError(
            f"channels={config.channels} cannot be written: diffusers' autoencoder has multiples of the first"
        )
    return {
        **_BUILT_IN,
        "_class_name": "AutoencoderKLWan",
        "_diffusers_version": DIFFUSERS_VERSION,
        "base_dim": base,
        "decoder_base_dim": None,
        "dim_mult": [channels // base for channels in config.channels],
        "in_channels": config.in_channels,
        "latents_mean": list(config.mean),
        "latents_std": list(config.std),
        "num_res_blocks": config.num_blocks,
        "out_channels": config.in_channels,
        "patch_size": None,
        "scale_factor_spatial": config.compression,
        "scale_factor_temporal": config.temporal_compression,
        "temperal_downsample": list(config.halves_time),
        "z_dim": config.latent_channels,
    }


def _wan_from_json(fields: Mapping[str, Any]) -> WanAutoencoderConfig:
    """Our config; absent fields take the defaults of diffusers' class."""
    known = WanAutoencoderConfig()
    base, in_channels = count(fields, "base_dim", 96), count(fields, "in_channels", 3)
    for name, value in {**_BUILT_IN, "decoder_base_dim": base, "patch_size": 1, "out_channels": in_channels}.items():
        require(fields, name, value)
    multiples = counts(fields, "dim_mult", (1, 2, 4, 4))
    if not multiples or multiples[0] != 1:
        raise CheckpointError(f"dim_mult in config.json is {list(multiples)}; it should begin with 1")
    steps = sequence("temperal_downsample", fields.get("temperal_downsample", known.halves_time))
    return WanAutoencoderConfig(
        channels=tuple(base * each for each in multiples),
        num_blocks=count(fields, "num_res_blocks", 2),
        halves_time=tuple(flag({"temperal_downsample": step}, "temperal_downsample", False) for step in steps),
        latent_channels=count(fields, "z_dim", 16),
        in_channels=in_channels,
        mean=_numbers(fields, "latents_mean", known.mean),
        std=_numbers(fields, "latents_std", known.std),
    )


def _numbers(fields: Mapping[str, Any], name: str, default: tuple[float, ...]) -> tuple[float, ...]:
    values = sequence(name, fields.get(name, default))
    if any(type(value) not in (int, float) or not abs(value) < 1e6 for value in values):
        raise CheckpointError(f"{name} in config.json is {values!r}; it should be a list of numbers")
    return tuple(map(float, values))


WAN = NetworkKind(
    component="autoencoder",
    folder="vae",
    class_name="AutoencoderKLWan",
    noun="Wan 2.1 autoencoder",
    build=WanAutoencoder,
    to_json=wan_to_json,
    from_json=_wan_from_json,
    published=[WanAutoencoderConfig()],
    layout_of=find_wan_layout,
    layouts=lambda config: {
        "diffusers": DIFFUSERS_WAN,
        "upstream": upstream_wan(config.num_blocks + 1, len(config.channels)),
    },
    block_name=r"(encoder\.blocks|decoder\.stages)\.\d+\.",
    num_blocks=lambda config: (config.num_blocks + 1) * len(config.channels) - 1 + len(config.channels),
)
