"""LTX-2's upsampler of latents in files: its names in diffusers, its ``config.json``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sanakit.checkpoints.networks.config_fields import DIFFUSERS_VERSION, count, require
from sanakit.checkpoints.networks.key_maps import Drop, KeyMap, Rename
from sanakit.checkpoints.networks.kind import Json, NetworkKind, Shapes
from sanakit.common.errors import CheckpointError
from sanakit.models.latent_upsampler import LatentUpsampler, LatentUpsamplerConfig

_BUILT_IN: Json = {
    "dims": 3, "rational_spatial_scale": 2.0, "spatial_upsample": True, "temporal_upsample": False,
}  # fmt: skip

DIFFUSERS_LATENT_UPSAMPLER = KeyMap(
    layout="diffusers",
    rows=(
        Rename("conv_in.{leaf}", "initial_conv.{leaf}"),
        Rename("norm_in.{leaf}", "initial_norm.{leaf}"),
        *(
            Rename(f"{ours}.{{n}}.{part}{{m}}.{{leaf}}", f"{theirs}.{{n}}.{part}{{m}}.{{leaf}}")
            for ours, theirs in (("before", "res_blocks"), ("behind", "post_upsample_res_blocks"))
            for part in ("conv", "norm")
        ),
        Rename("up.{leaf}", "upsampler.conv.{leaf}"),
        Rename("up.{leaf}", "upsampler.0.{leaf}"),
        Rename("conv_out.{leaf}", "final_conv.{leaf}"),
        Drop("upsampler.blur_down.kernel", "nothing is made smaller"),
    ),
)


def find_upsampler_layout(names: Collection[str]) -> KeyMap | None:
    """diffusers', which a file's names are in; None when it is no such network."""
    marks = ("initial_conv.weight", "post_upsample_res_blocks.0.conv1.weight")
    return DIFFUSERS_LATENT_UPSAMPLER if all(mark in names for mark in marks) else None


def upsampler_to_json(config: LatentUpsamplerConfig) -> Json:
    """``LTX2LatentUpsamplerModel``'s ``config.json``."""
    return {
        **_BUILT_IN,
        "_class_name": "LTX2LatentUpsamplerModel",
        "_diffusers_version": DIFFUSERS_VERSION,
        "in_channels": config.in_channels,
        "mid_channels": config.hidden_channels,
        "num_blocks_per_stage": config.num_blocks,
        "use_rational_resampler": True,
    }


def _from_json(fields: Mapping[str, Any]) -> LatentUpsamplerConfig:
    """Our config; absent fields take the defaults of diffusers' class."""
    for name, value in _BUILT_IN.items():
        require(fields, name, value)
    return LatentUpsamplerConfig(
        in_channels=count(fields, "in_channels", 128),
        hidden_channels=count(fields, "mid_channels", 1024),
        num_blocks=count(fields, "num_blocks_per_stage", 4, least=0),
    )


def _infer(shapes: Shapes, names: str = "") -> LatentUpsamplerConfig:
    """All sizes show in the shapes."""
    try:
        hidden, channels = shapes["conv_in.weight"][:2]
    except (KeyError, ValueError):
        raise CheckpointError("the file is no whole upsampler: its first convolution is not as it should be") from None
    blocks = {name.split(".")[1] for name in shapes if name.startswith("before.")}
    return LatentUpsamplerConfig(in_channels=channels, hidden_channels=hidden, num_blocks=len(blocks))


LATENT_UPSAMPLER = NetworkKind(
    component="latent_upsampler",
    folder="latent_upsampler",
    class_name="LTX2LatentUpsamplerModel",
    noun="LTX-2 latent upsampler",
    build=LatentUpsampler,
    to_json=upsampler_to_json,
    from_json=_from_json,
    read_shapes=_infer,
    layout_of=find_upsampler_layout,
    layouts=lambda config: {"diffusers": DIFFUSERS_LATENT_UPSAMPLER, "upstream": DIFFUSERS_LATENT_UPSAMPLER},
    block_name=r"(before|behind)\.\d+\.",
    num_blocks=lambda config: 2 * config.num_blocks,
)
