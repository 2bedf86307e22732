"""The published sizes, as tables, and the names under which they were published."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig, stages
from sanakit.models.autoencoders.dc_ae_v import DCAEVConfig
from sanakit.models.autoencoders.ltx2 import LTX2AutoencoderConfig
from sanakit.models.autoencoders.wan import WanAutoencoderConfig
from sanakit.models.transformers.linear_dit import LinearDiTConfig
from sanakit.models.transformers.video_dit import VideoDiTConfig
from sanakit.models.transformers.video_dit2 import VideoDiT2Config

_600M = LinearDiTConfig(hidden_size=1152, num_layers=28, cross_head_dim=72)
_1600M = LinearDiTConfig(hidden_size=2240, num_layers=20, cross_head_dim=112)
_V1_5 = replace(_1600M, qk_norm=True)
_SPRINT: dict[str, Any] = {"guidance_embeds": True, "timestep_scale": 0.001}

LINEAR_DIT_PRESETS: dict[str, LinearDiTConfig] = {
    "sana-600m-512": replace(_600M, sample_size=16),
    "sana-600m-1024": _600M,
    "sana-1600m-512": replace(_1600M, sample_size=16),
    "sana-1600m-1024": _1600M,
    "sana-1600m-2k": replace(_1600M, sample_size=64, interpolation_scale=1.0),
    "sana-1600m-4k": replace(_1600M, sample_size=128, interpolation_scale=2.0),
    "sana1.5-1600m-1024": _V1_5,
    "sana1.5-2400m-1024": replace(_V1_5, num_layers=30),
    "sana1.5-3200m-1024": replace(_V1_5, num_layers=40),
    "sana1.5-4800m-1024": replace(_V1_5, num_layers=60),
    "sana-sprint-600m-1024": replace(_600M, qk_norm=True, **_SPRINT),
    "sana-sprint-1600m-1024": replace(_V1_5, **_SPRINT),
}

_VIDEO = VideoDiTConfig(hidden_size=2240, num_layers=20, cross_head_dim=112)
_DEEP: dict[str, Any] = {"patch_size": (1, 1, 1), "sample_size": 22}  # of autoencoders of 32 pixels a side

VIDEO_DIT_PRESETS: dict[str, VideoDiTConfig] = {
    "sana-video-2b-480p": _VIDEO,
    "sana-video-2b-720p": replace(_VIDEO, in_channels=128, out_channels=128, **_DEEP),  # with LTX-2's autoencoder
    "sana-video-2b-720p-dc-ae-v": replace(_VIDEO, in_channels=32, out_channels=32, **_DEEP),
    "longsana-2b-480p": _VIDEO,  # the same network, run chunk by chunk
}

VIDEO_DIT2_PRESETS: dict[str, VideoDiT2Config] = {
    "sana-video2-5b-720p": VideoDiT2Config(),
    "sana-video2-14b-720p": VideoDiT2Config(hidden_size=4096, num_layers=40, num_anchors=10),
}

_WIDTHS = (128, 256, 512, 512, 1024, 1024)
_SANA = DCAutoencoderConfig(
    encoder=stages(_WIDTHS, (2, 2, 2, 3, 3, 3)), decoder=stages(_WIDTHS, (3, 3, 3, 3, 3, 3)), scaling_factor=0.41407
)


def _imagenet(widths: tuple[int, ...], latent_channels: int, scaling_factor: float) -> DCAutoencoderConfig:
    """The ``in`` and ``mix`` variants: no multi-scale attention, batch norm in the shallow decoder."""
    deep = (2,) * (len(widths) - 3)
    return DCAutoencoderConfig(
        encoder=stages(widths, (0, 4, 8, *deep), scales=()),
        decoder=stages(widths, (0, 5, 10, *deep), scales=(), shallow_norm="batch", shallow_activation="relu"),
        latent_channels=latent_channels,
        down="pixel_unshuffle",
        up="pixel_shuffle",
        scaling_factor=scaling_factor,
    )


_F128 = (*_WIDTHS, 2048, 2048)
_ALL_RES = stages(_WIDTHS, (0, 5, 10, 4, 4, 4), num_res=6)

DC_AE_PRESETS: dict[str, DCAutoencoderConfig] = {
    "dc-ae-f32c32-sana-1.0": _SANA,
    "dc-ae-f32c32-sana-1.1": _SANA,
    "dc-ae-lite-f32c32-sana-1.1": replace(
        _SANA, decoder=stages(_WIDTHS, (0, 3, 5, 4, 4, 4), num_res=6), up="pixel_shuffle", head_activation="silu"
    ),
    "dc-ae-f32c32-in-1.0": _imagenet(_WIDTHS, 32, 0.3189),
    "dc-ae-f32c32-mix-1.0": _imagenet(_WIDTHS, 32, 0.4552),
    "dc-ae-f64c128-in-1.0": _imagenet(_F128[:7], 128, 0.2889),
    "dc-ae-f64c128-mix-1.0": _imagenet(_F128[:7], 128, 0.4538),
    "dc-ae-f128c512-in-1.0": _imagenet(_F128, 512, 0.4883),
    "dc-ae-f128c512-mix-1.0": _imagenet(_F128, 512, 0.3620),
    "dc-ae-1.5-f32c128": DCAutoencoderConfig(
        encoder=_ALL_RES,
        decoder=_ALL_RES,
        latent_channels=128,
        down="pixel_unshuffle",
        up="pixel_shuffle",
        encoder_shortcut=False,
        decoder_shortcut=False,
        head_activation="silu",
    ),
}

_DC_AE_V_F64 = DCAEVConfig(channels=(128, 256, 512, 512, *(1024,) * 4), num_blocks=(0, 5, 10, 4, 4, 4, 4, 4))

DC_AE_V_PRESETS: dict[str, DCAEVConfig] = {  # of DC-Gen; SANA-Video's own, as wide as the first, was not published
    "dc-ae-v-f32t4c32-1.0": DCAEVConfig(),
    "dc-ae-v-f32t4c64-1.0": DCAEVConfig(latent_channels=64),
    "dc-ae-v-f32t4c128-1.0": DCAEVConfig(latent_channels=128),
    "dc-ae-v-f32t4c256-1.0": DCAEVConfig(latent_channels=256),
    "dc-ae-v-f64t4c128-1.0": replace(_DC_AE_V_F64, latent_channels=128),
}

_NAME = re.compile(r"sana(?P<line>1\.5|_sprint)?_(?P<size>[\d.]+)(?P<unit>[mb])_(?P<side>\d+k?)px", re.IGNORECASE)


def published_transformer(hub_id: str) -> LinearDiTConfig | None:
    """The network of a name such as ``Efficient-Large-Model/Sana_1600M_1024px_BF16_diffusers``; None if unknown."""
    name = _NAME.search(hub_id.rsplit("/", 1)[-1])
    if name is None:
        return None
    line = (name["line"] or "").replace("_", "-").lower()
    millions = round(float(name["size"]) * (1000 if name["unit"].lower() == "b" else 1))
    return LINEAR_DIT_PRESETS.get(f"sana{line}-{millions}m-{name['side'].lower()}")


def published_autoencoder(hub_id: str) -> DCAutoencoderConfig | None:
    """The network of a name such as ``mit-han-lab/dc-ae-f32c32-sana-1.0-diffusers``; None if unknown."""
    return DC_AE_PRESETS.get(hub_id.rsplit("/", 1)[-1].removesuffix("-diffusers"))


def published_clip_transformer(hub_id: str) -> VideoDiTConfig | None:
    """That of a name such as ``Efficient-Large-Model/SANA-Video_2B_480p_diffusers``; None if unknown."""
    name = hub_id.rsplit("/", 1)[-1].lower().removesuffix("_diffusers").replace("_", "-")
    return VIDEO_DIT_PRESETS.get(name)


def published_clip_autoencoder(hub_id: str) -> WanAutoencoderConfig | LTX2AutoencoderConfig | None:
    """That of a model of clips such as ``Efficient-Large-Model/SANA-Video_2B_480p_diffusers``; None if unknown."""
    name = hub_id.rsplit("/", 1)[-1].lower()
    if not name.startswith("sana-video_2b_"):
        return None
    return WanAutoencoderConfig() if "480p" in name else LTX2AutoencoderConfig(decoder_causal=False)
