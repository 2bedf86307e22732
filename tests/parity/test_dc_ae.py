"""DCAutoencoder against diffusers' AutoencoderDC with the same random weights, in float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from diffusers import AutoencoderDC
from torch import Tensor
from weights import autoencoder_pair, relative_error

from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig, stages
from sanakit.models.presets import DC_AE_PRESETS

LIMIT = 1e-5  # measured: 8e-7 on the small ones, 1.7e-6 at the published widths; promised is 1e-4

WIDTHS = (8, 16, 16, 32)
SANA = DCAutoencoderConfig(
    encoder=stages(WIDTHS, (1, 2, 1, 1), num_res=2),
    decoder=stages(WIDTHS, (2, 1, 1, 1), num_res=2),
    latent_channels=4,
    head_dim=8,
    scaling_factor=0.41407,
)
IMAGENET = replace(
    SANA,
    encoder=stages(WIDTHS, (0, 1, 2, 1), num_res=2, scales=()),
    decoder=stages(WIDTHS, (0, 2, 1, 1), num_res=2, scales=(), shallow_norm="batch", shallow_activation="relu"),
    down="pixel_unshuffle",
    up="pixel_shuffle",
    scaling_factor=0.3189,
)
ALL_RES = stages(WIDTHS, (0, 1, 1, 1), num_res=4)
CONFIGS = {
    "sana": SANA,
    "lite": replace(SANA, decoder=ALL_RES, up="pixel_shuffle", head_activation="silu"),
    "in": IMAGENET,
    "1.5": replace(
        IMAGENET,
        encoder=ALL_RES,
        decoder=ALL_RES,
        encoder_shortcut=False,
        decoder_shortcut=False,
        head_activation="silu",
    ),
    "empty first stage, conv and interpolate": replace(SANA, encoder=ALL_RES, decoder=ALL_RES),
    "two scales": replace(SANA, encoder=stages(WIDTHS, (1, 1, 1, 1), num_res=2, scales=(3, 5))),
    "starter": replace(SANA, encoder=stages(WIDTHS, (1, 1, 1, 1), num_res=4), latent_channels=16),
}


def run_both(theirs: AutoencoderDC, ours: DCAutoencoder, height: int, width: int, batch: int = 2) -> list[Tensor]:
    """Our latent and theirs, then our pixels and theirs; diffusers leaves the scale of latents to its pipeline."""
    generator = torch.Generator().manual_seed(5)
    pixels = torch.rand(batch, 3, height, width, generator=generator) * 2 - 1
    scale = ours.config.scaling_factor
    expected_latent = theirs.encode(pixels).latent * scale
    expected_pixels = theirs.decode(expected_latent / scale).sample
    return [ours.encode(pixels), expected_latent, ours.decode(expected_latent), expected_pixels]


# 16x32 pixels leave 2x4 positions at the bottom: there diffusers takes the quadratic form of its attention
@pytest.mark.parametrize(("height", "width"), [(32, 32), (24, 40), (16, 32)])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
@torch.no_grad()
def test_latents_and_pixels(config: DCAutoencoderConfig, height: int, width: int, note: Callable[..., None]) -> None:
    latent, expected_latent, pixels, expected_pixels = run_both(*autoencoder_pair(config), height, width)
    assert latent.shape == (2, config.latent_channels, height // 8, width // 8)
    assert pixels.shape == (2, 3, height, width)
    note(relative_error(latent, expected_latent), LIMIT, "latent")
    note(relative_error(pixels, expected_pixels), LIMIT, "pixels")


@torch.no_grad()
def test_the_published_widths(note: Callable[..., None]) -> None:
    """One block per stage: the widths, the groups of channels and the heads are those of sana-1.1."""
    config = DC_AE_PRESETS["dc-ae-f32c32-sana-1.1"]
    shallow = replace(
        config,
        encoder=tuple(replace(stage, num_blocks=1) for stage in config.encoder),
        decoder=tuple(replace(stage, num_blocks=1) for stage in config.decoder),
    )
    latent, expected_latent, pixels, expected_pixels = run_both(*autoencoder_pair(shallow), 64, 64, batch=1)
    note(relative_error(latent, expected_latent), LIMIT, "latent")
    note(relative_error(pixels, expected_pixels), LIMIT, "pixels")
