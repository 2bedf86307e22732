"""The transformer of SANA-Video 2.0: gated linear attention with softmax attention as an anchor in every fourth layer.

Nothing is added to one stream: a layer is given a mixture of what groups of layers before it made (``DepthMix``).
Source: NVlabs/Sana.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from sanakit.common.errors import ConfigError
from sanakit.layers.cross_attention import AttendedText, CrossAttention
from sanakit.layers.depth_mix import DepthMix
from sanakit.layers.embeddings import CaptionProjection, ScalarEmbedding
from sanakit.layers.feed_forward import SwiGLU
from sanakit.layers.gated_attention import GatedLinearAttention
from sanakit.layers.linear import Linear
from sanakit.layers.norms import RMSNorm
from sanakit.layers.softmax_attention import SoftmaxAttention
from sanakit.models.transformers.clip_transformer import (
    ClipTransformer,
    gated_parts,
    modulated_parts,
    turns_of,
    unpatched,
    weighed_parts,
)
from sanakit.models.transformers.condition import Condition
from sanakit.models.transformers.prompted import PromptedBlock, table, two_rows

_EPS = 1e-5  # of norms with weights


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoDiT2Config:
    """The published 5B by default."""

    hidden_size: int = 2560
    num_layers: int = 32
    head_dim: int = 128
    anchor_head_dim: int = 256  # of softmax attention
    num_anchors: int = 8  # layers with softmax attention
    cross_head_dim: int = 128
    group: int = 8  # layers whose sum is one of the states that later ones see
    in_channels: int = 128
    patch_size: tuple[int, int, int] = (1, 1, 1)
    caption_channels: int = 2304
    mlp_ratio: float = 4.0
    sample_size: int = 23  # of the grid of tokens that it was trained on, the shorter side
    rope_max_length: int = 1024  # positions of an axis

    def __post_init__(self) -> None:
        for name in ("head_dim", "anchor_head_dim", "cross_head_dim"):
            head_dim = getattr(self, name)
            if head_dim < 6 or head_dim % 2 or self.hidden_size % head_dim:
                raise ConfigError(
                    f"hidden_size={self.hidden_size} does not split into heads of {name}={head_dim} channels; pick an "
                    f"even number of at least 6 that divides it"
                )
        names = ("num_layers", "group", "in_channels", "caption_channels", "inner_size", "sample_size")
        for name in (*names, "rope_max_length"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)} must be at least 1")
        if len(self.patch_size) != 3 or min(self.patch_size) < 1:
            raise ConfigError(f"patch_size={self.patch_size} must be of frames, rows and columns")
        if not 0 <= self.num_anchors <= self.num_layers:
            raise ConfigError(f"num_anchors={self.num_anchors} must be from 0 to num_layers={self.num_layers}")

    @property
    def num_states(self) -> int:
        """Of the width of a token that its last layers see: the embedded latent, and what each group made."""
        return 1 + math.ceil(self.num_layers / self.group)

    @property
    def inner_size(self) -> int:
        """Channels of the feed-forward layers."""
        return int(self.mlp_ratio * self.hidden_size)

    @property
    def anchors(self) -> tuple[int, ...]:
        """Layers with softmax attention, by number, evenly spaced; the last layer is one."""
        number = self.num_anchors
        return tuple(int((index + 1) * (self.num_layers / number)) - 1 for index in range(number))


class VideoBlock2(PromptedBlock):
    """Self- and cross-attention, then a feed-forward layer, each of a mixture of states."""

    def __init__(self, config: VideoDiT2Config, *, anchor: bool) -> None:
        super().__init__()
        size = config.hidden_size
        self.scale_shift_table = nn.Parameter(table(6, size))
        self.attention: nn.Module = (
            SoftmaxAttention(size, head_dim=config.anchor_head_dim, qk_norm_eps=_EPS, gated=True)
            if anchor
            else GatedLinearAttention(size, head_dim=config.head_dim, norm_eps=_EPS)
        )
        self.cross_attention = CrossAttention(size, head_dim=config.cross_head_dim, qk_norm=True, qk_norm_eps=_EPS)
        self.ffn = SwiGLU(size, config.inner_size)

    def forward(
        self,
        states: Sequence[Tensor],
        modulation: Tensor,
        text: AttendedText,
        turns: Tensor,
        mixes: tuple[DepthMix, DepthMix],
        partial: Tensor | None,
    ) -> Tensor:
        """What the layers of this group have made together, ``(B, N, C)``, after this one.

        Args:
            states: of the groups before, ``(B, N, C)`` each, the embedded latent first.
            modulation: ``(B * G, 6, C)`` of the ``G`` parts of a clip.
            text: what ``prepare`` made of it.
            turns: positions of the tokens.
            mixes: of what attention and the feed-forward layer are given.
            partial: what the group has made before this layer; None for its first.
        """
        shift1, scale1, gate1, shift2, scale2, gate2 = (self.scale_shift_table + modulation).chunk(6, dim=1)
        x = mixes[0](states if partial is None else [*states, partial])
        attended = weighed_parts(gate1, self.attention(modulated_parts(x, shift1, scale1), turns))
        delta = attended + self.cross_attention(x + attended, text)
        partial = delta if partial is None else partial + delta
        x = mixes[1]([*states, partial])
        return gated_parts(partial, gate2, self.ffn(modulated_parts(x, shift2, scale2)))


class VideoDiT2(ClipTransformer):
    """Velocity of the noisy latent of a clip, given its noise level and a prompt."""

    config: VideoDiT2Config
    caption_norm: RMSNorm

    def __init__(self, config: VideoDiT2Config) -> None:
        super().__init__()
        self.config = config
        size, patch = config.hidden_size, config.patch_size
        self.patch_embed = nn.Conv3d(config.in_channels, size, patch, stride=patch)
        self.time_embed = ScalarEmbedding(size)
        self.modulation = nn.Linear(size, 6 * size)
        self.caption_projection = CaptionProjection(config.caption_channels, size)
        self.caption_norm = RMSNorm(size, eps=_EPS)
        self.blocks = nn.ModuleList(
            VideoBlock2(config, anchor=layer in config.anchors) for layer in range(config.num_layers)
        )
        self.mix_attention, self.mix_ffn, self.mix_final = (DepthMix(size) for _ in range(3))
        self.final_scale_shift_table = nn.Parameter(table(2, size))
        self.final = Linear(size, math.prod(patch) * config.in_channels)

    def forward(self, latent: Tensor, timestep: Tensor, condition: Condition) -> Tensor:
        """Predict ``noise - latent``; arguments, result and errors are those of ``VideoDiT.forward``."""
        config = self.config
        grid = self.grid_of(latent, condition, config.rope_max_length)
        x = self.patch_embed(latent).flatten(2).mT.contiguous()  # (B, N, C), frame after frame
        time = two_rows(self.time_embed, self.times_of(timestep, condition, grid).flatten())  # (B * G, C)
        modulation = two_rows(self.modulation, F.silu(time)).unflatten(-1, (6, -1))
        turns, wide_turns = (turns_of(grid, head_dim, x) for head_dim in (config.head_dim, config.anchor_head_dim))
        states: list[Tensor] = [x]
        partial: Tensor | None = None
        for index, block in enumerate(self.blocks):
            own = wide_turns if index in config.anchors else turns
            mixes = (self.mix_attention, self.mix_ffn)
            partial = block(states, modulation, condition.text_of(index), own, mixes, partial)
            if (index + 1) % config.group == 0 or index + 1 == config.num_layers:
                assert partial is not None
                states, partial = [*states, partial], None
        shift, scale = (self.final_scale_shift_table + time[:, None]).chunk(2, dim=1)
        return unpatched(self.final(modulated_parts(self.mix_final(states), shift, scale)), grid, config.patch_size)
