"""VideoDiT against diffusers' SanaVideoTransformer3DModel with the same random weights, in float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from weights import relative_error, video_transformer_pair

from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.video_dit import TurnedLinearAttention, VideoDiTConfig

LIMIT = 5e-6  # ten times the largest error measured, 6e-7; promised is 1e-4

TINY = VideoDiTConfig(
    hidden_size=48, num_layers=3, cross_head_dim=12, attention=TurnedLinearAttention(head_dim=24),
    in_channels=4, out_channels=4, caption_channels=24,
)  # fmt: skip
CONFIGS = {
    "480p": TINY,
    "720p": replace(TINY, patch_size=(1, 1, 1)),
    "patches of two frames": replace(TINY, patch_size=(2, 1, 2), out_channels=3, mlp_ratio=2.5),
    "heads of 20 channels": replace(
        TINY, hidden_size=40, cross_head_dim=8, attention=TurnedLinearAttention(head_dim=20)
    ),
    "without norms": replace(TINY, attention=TurnedLinearAttention(head_dim=24, qk_norm=False)),
    "real width": VideoDiTConfig(hidden_size=2240, num_layers=1, cross_head_dim=112),
}


@pytest.mark.parametrize("given", [False, True], ids=["text to video", "image to video"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
@torch.no_grad()
def test_velocity(config: VideoDiTConfig, given: bool, note: Callable[..., None]) -> None:
    """Their image to video gives every token its time; ours says which frames are clean."""
    theirs, ours = video_transformer_pair(config)
    generator = torch.Generator().manual_seed(7)
    latent = torch.randn(2, config.in_channels, 4, 4, 6, generator=generator)
    mask = torch.arange(7) < torch.tensor([7, 4])[:, None]
    text = TextCondition(8 * torch.randn(2, 7, config.caption_channels, generator=generator), mask)
    times, condition = torch.tensor([999.667, 345.891]), ours.requires_grad_(False).prepare(text)
    grid = [side // patch for side, patch in zip(latent.shape[2:], config.patch_size, strict=True)]
    clean = torch.zeros(2, 1, *grid)
    clean[:, :, 0] = given
    expected = theirs(
        latent,
        encoder_hidden_states=text.embeds,
        encoder_attention_mask=mask.float(),
        timestep=times.view(2, 1, 1, 1, 1) * (1 - clean) if given else times,
    ).sample
    if given:
        condition = replace(condition, clean=clean[:, 0, :, 0, 0].bool())
    note(relative_error(ours(latent, times, condition), expected), LIMIT)
