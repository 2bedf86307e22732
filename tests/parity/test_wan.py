"""WanAutoencoder against diffusers' AutoencoderKLWan with the same random weights, in float32."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from diffusers import AutoencoderKLWan
from weights import class_arguments, randomize_, relative_error

from sanakit.checkpoints.networks.wan import DIFFUSERS_WAN, wan_to_json
from sanakit.models.autoencoders.wan import WanAutoencoder, WanAutoencoderConfig

LIMIT = 1e-5  # promised is 1e-4
CONFIGS = {
    "tiny": WanAutoencoderConfig(channels=(6, 12, 24, 24), num_blocks=1),
    "odd widths": WanAutoencoderConfig(channels=(3, 3, 3, 3), num_blocks=1),
    "other steps": WanAutoencoderConfig(
        channels=(4, 8, 8), halves_time=(True, False), latent_channels=4, mean=(0.5, -1, 2, 0), std=(1, 2, 0.5, 3)
    ),
}  # fmt: skip


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
@torch.no_grad()
def test_a_clip_there_and_back(config: WanAutoencoderConfig, note: Callable[..., None]) -> None:
    theirs = AutoencoderKLWan(**class_arguments(wan_to_json(config))).eval()
    randomize_(theirs, 0)
    ours = WanAutoencoder(config).eval()
    ours.load_state_dict(DIFFUSERS_WAN.to_ours(theirs.state_dict()))
    # their loop has groups of 4 frames built in
    frames = 9 if config.temporal_compression == 4 else 1
    pixels = torch.randn(2, 3, frames, 16, 24, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)
    mean, std = (torch.tensor(each).view(1, -1, 1, 1, 1) for each in (config.mean, config.std))
    expected = (theirs.encode(pixels).latent_dist.mode() - mean) / std
    note(relative_error(ours.encode(pixels), expected), LIMIT, "latent")
    latent = torch.randn(2, config.latent_channels, 3, 2, 3, generator=torch.Generator().manual_seed(2))
    decoded = theirs.decode(latent * std + mean).sample
    for at_once in (1, 3):
        note(relative_error(ours.decode(latent, at_once=at_once), decoded), LIMIT, "pixels")
