"""A video transformer that begins with an image transformer's weights."""

from __future__ import annotations

import torch

from sanakit.checkpoints.editing.clips import of_pictures
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig
from sanakit.models.transformers.video_dit import TurnedLinearAttention, VideoDiT, VideoDiTConfig
from sanakit.training.recipes.transformer.initialization import initialize_


def test_what_both_have_is_copied_and_frames_begin_alone() -> None:
    picture = LinearDiT(
        LinearDiTConfig(
            hidden_size=48,
            num_layers=2,
            cross_head_dim=12,
            head_dim=8,
            in_channels=4,
            caption_channels=16,
            patch_size=2,
            qk_norm=True,
            mlp_ratio=3.0,
        )
    ).state_dict()
    video = VideoDiT(
        VideoDiTConfig(
            hidden_size=48,
            num_layers=3,
            cross_head_dim=12,
            attention=TurnedLinearAttention(head_dim=24),
            in_channels=4,
            out_channels=4,
            caption_channels=16,
        )
    )
    initialize_(video, torch.Generator().manual_seed(0))
    state, left = of_pictures(video.state_dict(), picture)
    temporal = {f"blocks.{block}.mix_ffn.temporal.weight" for block in range(3)}
    new = {name for name in state if name.startswith("blocks.2.")}
    assert set(left) == temporal | new | {"final.weight", "final.bias"}
    assert not any(state[name].any() for name in temporal)
    assert torch.equal(state["patch_embed.weight"][:, :, 0], picture["patch_embed.weight"])
    assert torch.equal(state["blocks.1.attention.qkv.weight"], picture["blocks.1.attention.qkv.weight"])
    video.load_state_dict(state)
