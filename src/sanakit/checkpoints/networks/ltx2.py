"""LTX-2's autoencoder of clips in files: its names in diffusers and at Lightricks, its ``config.json``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sanakit.checkpoints.networks.config_fields import DIFFUSERS_VERSION, choose, count, counts, flag, require, sequence
from sanakit.checkpoints.networks.key_maps import Drop, KeyMap, Rename, Row
from sanakit.checkpoints.networks.kind import Json, NetworkKind
from sanakit.models.autoencoders.ltx2 import LTX2Autoencoder, LTX2AutoencoderConfig, Padding, Step

_STEPS: dict[str, Step] = {"spatial": "spatial", "temporal": "temporal", "spatiotemporal": "spatiotemporal"}
_PADDINGS: dict[str, Padding] = {"zeros": "zeros", "reflect": "reflect", "replicate": "replicate"}
_BUILT_IN = {
    "encoder_causal": True, "patch_size_t": 1, "resnet_norm_eps": 1e-6, "scaling_factor": 1.0,
    "timestep_conditioning": False,
}  # fmt: skip


def _diffusers() -> KeyMap:
    rows: list[Row] = [Rename("mean", "latents_mean"), Rename("std", "latents_std")]
    for side, blocks, step, theirs in (
        ("encoder", "down_blocks", "down", "downsamplers"), ("decoder", "up_blocks", "up", "upsamplers")
    ):  # fmt: skip
        rows += [Rename(f"{side}.{name}.{{leaf}}", f"{side}.{name}.conv.{{leaf}}") for name in ("conv_in", "conv_out")]
        for conv in ("conv1", "conv2"):
            rows += [
                Rename(f"{side}.middle.{{n}}.{conv}.{{leaf}}", f"{side}.mid_block.resnets.{{n}}.{conv}.conv.{{leaf}}"),
                Rename(
                    f"{side}.stages.{{n}}.blocks.{{m}}.{conv}.{{leaf}}",
                    f"{side}.{blocks}.{{n}}.resnets.{{m}}.{conv}.conv.{{leaf}}",
                ),
            ]
        rows.append(
            Rename(f"{side}.stages.{{n}}.{step}.conv.{{leaf}}", f"{side}.{blocks}.{{n}}.{theirs}.0.conv.conv.{{leaf}}")
        )
    return KeyMap(layout="diffusers", rows=tuple(rows))


DIFFUSERS_LTX2 = _diffusers()


def lightricks_ltx2(num_steps: int, num_decoder_steps: int) -> KeyMap:
    """Where the blocks and steps of a side are counted through, as many steps as are given."""
    statistics = "per_channel_statistics"
    rows: list[Row] = [Rename("mean", f"{statistics}.mean-of-means"), Rename("std", f"{statistics}.std-of-means")]
    for side, blocks, step, steps, first in (
        ("encoder", "down_blocks", "down", num_steps, 0), ("decoder", "up_blocks", "up", num_decoder_steps, 1)
    ):  # fmt: skip
        rows += [Rename(f"{side}.{name}.{{leaf}}", f"{side}.{name}.conv.{{leaf}}") for name in ("conv_in", "conv_out")]
        places = {f"{side}.stages.{n}.blocks": f"{side}.{blocks}.{2 * (n + first)}" for n in range(steps)}
        places[f"{side}.middle"] = f"{side}.{blocks}.{0 if first else 2 * steps}"
        rows += [
            Rename(f"{ours}.{{n}}.{conv}.{{leaf}}", f"{theirs}.res_blocks.{{n}}.{conv}.conv.{{leaf}}")
            for ours, theirs in places.items()
            for conv in ("conv1", "conv2")
        ]
        rows += [
            Rename(f"{side}.stages.{n}.{step}.conv.{{leaf}}", f"{side}.{blocks}.{2 * n + 1}.conv.conv.{{leaf}}")
            for n in range(steps)
        ]
    others = ("channel", "mean-of-stds", "mean-of-stds_over_std-of-means")
    rows += [Drop(f"{statistics}.{name}", "mean and deviation are enough") for name in others]
    return KeyMap(layout="upstream", rows=tuple(rows))


def find_ltx2_layout(names: Collection[str]) -> KeyMap | None:
    """The layout that a file's names are in; None when it is no such autoencoder."""
    if "encoder.conv_in.conv.weight" not in names:
        return None
    if "decoder.mid_block.resnets.0.conv1.conv.weight" in names:
        return DIFFUSERS_LTX2
    if "decoder.up_blocks.0.res_blocks.0.conv1.conv.weight" in names:
        return lightricks_ltx2(*(_count_steps(names, side) for side in ("encoder.down_blocks", "decoder.up_blocks")))
    return None


def _count_steps(names: Collection[str], blocks: str) -> int:
    return sum(f"{blocks}.{2 * n + 1}.conv.conv.weight" in names for n in range(10))


def ltx2_to_json(config: LTX2AutoencoderConfig) -> Json:
    """``AutoencoderKLLTX2Video``'s ``config.json``."""
    steps, blocks = len(config.steps), len(config.decoder_channels)
    return {
        **_BUILT_IN,
        "_class_name": "AutoencoderKLLTX2Video",
        "_diffusers_version": DIFFUSERS_VERSION,
        "block_out_channels": list(config.channels),
        "decoder_block_out_channels": list(config.decoder_channels),
        "decoder_causal": config.decoder_causal,
        "decoder_inject_noise": [False] * (blocks + 1),
        "decoder_layers_per_block": list(config.decoder_num_blocks),
        "decoder_spatial_padding_mode": config.decoder_padding,
        "decoder_spatio_temporal_scaling": [True] * blocks,
        "down_block_types": ["LTX2VideoDownBlock3D"] * steps,
        "downsample_type": list(config.steps),
        "encoder_spatial_padding_mode": config.padding,
        "in_channels": config.in_channels,
        "latent_channels": config.latent_channels,
        "layers_per_block": list(config.num_blocks),
        "out_channels": config.in_channels,
        "patch_size": config.patch_size,
        "spatial_compression_ratio": config.compression,
        "spatio_temporal_scaling": [True] * steps,
        "temporal_compression_ratio": config.temporal_compression,
        "upsample_factor": [2] * blocks,
        "upsample_residual": [True] * blocks,
        "upsample_type": ["spatiotemporal"] * blocks,
    }


def _ltx2_from_json(fields: Mapping[str, Any]) -> LTX2AutoencoderConfig:
    """Our config; absent fields take the defaults of diffusers' class."""
    known = LTX2AutoencoderConfig()
    steps = sequence("downsample_type", fields.get("downsample_type", known.steps))
    config = LTX2AutoencoderConfig(
        channels=counts(fields, "block_out_channels", known.channels),
        num_blocks=counts(fields, "layers_per_block", known.num_blocks, least=0),
        steps=tuple(choose("downsample_type", step, _STEPS) for step in steps),
        decoder_channels=counts(fields, "decoder_block_out_channels", known.decoder_channels),
        decoder_num_blocks=counts(fields, "decoder_layers_per_block", known.decoder_num_blocks, least=0),
        latent_channels=count(fields, "latent_channels", known.latent_channels),
        in_channels=count(fields, "in_channels", known.in_channels),
        patch_size=count(fields, "patch_size", known.patch_size),
        decoder_causal=flag(fields, "decoder_causal", known.decoder_causal),
        padding=choose("encoder_spatial_padding_mode", fields.get("encoder_spatial_padding_mode", "zeros"), _PADDINGS),
        decoder_padding=choose(
            "decoder_spatial_padding_mode", fields.get("decoder_spatial_padding_mode", "reflect"), _PADDINGS
        ),
    )
    for name, value in ltx2_to_json(config).items():
        found = fields.get(name)
        if not name.startswith("_") and found is not None and _listed(found, value) != value:
            require(fields, name, value)
    return config


def _steps(config: LTX2AutoencoderConfig) -> tuple[int, int]:
    return len(config.steps), len(config.decoder_channels)


def _listed(found: Any, value: Any) -> Any:
    """A flag for all blocks as a list of them; a tuple as a list."""
    if isinstance(value, list):
        return [found] * len(value) if isinstance(found, bool) else list(found) if isinstance(found, tuple) else found
    return found


LTX2 = NetworkKind(
    component="autoencoder",
    folder="vae",
    class_name="AutoencoderKLLTX2Video",
    noun="LTX-2 autoencoder",
    build=LTX2Autoencoder,
    to_json=ltx2_to_json,
    from_json=_ltx2_from_json,
    published=[LTX2AutoencoderConfig(decoder_causal=False)],  # which no shape tells
    layout_of=find_ltx2_layout,
    layouts=lambda config: {"diffusers": DIFFUSERS_LTX2, "upstream": lightricks_ltx2(*_steps(config))},
    block_name=r"(encoder|decoder)\.stages\.\d+\.",
    num_blocks=lambda config: len(config.steps) + len(config.decoder_channels),
)
