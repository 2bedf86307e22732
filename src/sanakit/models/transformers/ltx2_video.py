"""The transformer of LTX-2 (Lightricks) as far as it is of pictures that move: it refines clips of SANA-Video to 2K.

Its other half, of sound, and the attention between both are left out. Where a clip's first frame is given, all tokens
see that frame and it sees itself alone: a sink, the same whatever follows it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sanakit.common.errors import ConfigError
from sanakit.kernels.pixel_norm import rms_normalised
from sanakit.layers.cross_attention import AttendedText, CrossAttention
from sanakit.layers.embeddings import CaptionProjection, ScalarEmbedding
from sanakit.layers.feed_forward import GeluFFN
from sanakit.layers.linear import Linear
from sanakit.layers.rotary import shared_turns
from sanakit.layers.softmax_attention import SoftmaxAttention
from sanakit.models.transformers.clip_transformer import ClipTransformer, Grid, gated_parts, modulated_parts
from sanakit.models.transformers.condition import Condition
from sanakit.models.transformers.prompted import PromptedBlock, table, two_rows

_EPS = 1e-6  # of every norm
TRAINED_FPS = 24.0
"""Where nobody says how quickly frames follow one another."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LTX2VideoConfig:
    """The published one by default."""

    hidden_size: int = 4096
    num_layers: int = 48
    head_dim: int = 128
    in_channels: int = 128
    caption_channels: int = 3840
    reach: tuple[int, int, int] = (8, 32, 32)  # frames, rows and columns of pixels in one of the latent
    trained_on: tuple[int, int, int] = (20, 2048, 2048)  # seconds, rows and columns of pixels
    rope_theta: float = 10_000.0
    rope_halves: bool = True  # a channel's partner is half a head away; else its neighbour

    def __post_init__(self) -> None:
        least = min(self.hidden_size, self.num_layers, self.in_channels, self.caption_channels)
        if least < 1 or min(*self.reach, *self.trained_on) < 1:
            raise ConfigError(f"a network needs sizes of at least 1, not {self}")
        if self.head_dim < 2 or self.head_dim % 2 or self.hidden_size % self.head_dim:
            raise ConfigError(
                f"hidden_size={self.hidden_size} does not split into heads of head_dim={self.head_dim} channels; pick "
                f"an even number that divides it"
            )
        if self.hidden_size < 6:
            raise ConfigError(f"hidden_size={self.hidden_size} does not hold positions on three axes; give 6 or more")

    @property
    def patch_size(self) -> tuple[int, int, int]:
        """A token is one position of the latent."""
        return 1, 1, 1

    @property
    def inner_size(self) -> int:
        """Channels of the feed-forward layers."""
        return 4 * self.hidden_size


class LTX2VideoBlock(PromptedBlock):
    """Modulated self-attention, cross-attention, modulated feed-forward layer; each behind a norm, and added."""

    def __init__(self, config: LTX2VideoConfig) -> None:
        super().__init__()
        size, head_dim = config.hidden_size, config.head_dim
        self.scale_shift_table = nn.Parameter(table(6, size))
        self.attention = SoftmaxAttention(size, head_dim=head_dim, qk_norm_eps=_EPS, halves=config.rope_halves)
        self.cross_attention = CrossAttention(size, head_dim=head_dim, qk_norm=True, qk_norm_eps=_EPS)
        self.ffn = GeluFFN(size, config.inner_size)

    def forward(self, x: Tensor, modulation: Tensor, text: AttendedText, turns: Tensor, sink: int) -> Tensor:
        """``x (B, N, C)``, ``modulation (B * G, 6, C)`` of the ``G`` parts of a clip and what ``prepare`` made of the
        text to ``(B, N, C)``; the first ``sink`` tokens see each other alone."""
        shift1, scale1, gate1, shift2, scale2, gate2 = (self.scale_shift_table + modulation).chunk(6, dim=1)
        x = gated_parts(x, gate1, self.attention(_modulated(x, shift1, scale1), turns, sink=sink))
        x = x + self.cross_attention(_normed(x), text)
        return gated_parts(x, gate2, self.ffn(_modulated(x, shift2, scale2)))


class LTX2Video(ClipTransformer):
    """Velocity of the noisy latent of a clip, given its noise level, a prompt and frames a second."""

    config: LTX2VideoConfig

    def __init__(self, config: LTX2VideoConfig) -> None:
        super().__init__()
        self.config = config
        size = config.hidden_size
        self.patch_embed = Linear(config.in_channels, size)
        self.time_embed = ScalarEmbedding(size)
        self.modulation = nn.Linear(size, 6 * size)
        self.caption_projection = CaptionProjection(config.caption_channels, size)
        self.caption_norm = nn.Identity()
        self.blocks = nn.ModuleList(LTX2VideoBlock(config) for _ in range(config.num_layers))
        self.final_scale_shift_table = nn.Parameter(table(2, size))
        self.final = Linear(size, config.in_channels)

    def forward(self, latent: Tensor, timestep: Tensor, condition: Condition) -> Tensor:
        """Predict ``noise - latent``; arguments, result and errors are those of ``VideoDiT.forward``. Where frames are
        clean, the first of them is the sink."""
        grid = self.grid_of(latent, condition)
        sink = 0 if condition.clean is None else grid[1] * grid[2]
        x = self.patch_embed(latent.flatten(2).mT)  # (B, N, C), frame after frame
        time = two_rows(self.time_embed, self.times_of(timestep, condition, grid).flatten())  # (B * G, C)
        modulation = two_rows(self.modulation, F.silu(time)).unflatten(-1, (6, -1))
        turns = self._turns(grid, condition)
        for index, block in enumerate(self.blocks):
            x = block(x, modulation, condition.text_of(index), turns, sink)
        shift, scale = (self.final_scale_shift_table + time[:, None]).chunk(2, dim=1)
        return self.final(modulated_parts(x, shift, scale)).mT.unflatten(2, grid)

    def _turns(self, grid: Grid, condition: Condition) -> Tensor:
        """``(B or 1, heads, N, D / 2)``: a token stands in the middle of its pixels, in time that of its seconds."""
        config, device = self.config, condition.mask.device
        fps = condition.fps if condition.fps is not None else torch.full((1,), TRAINED_FPS, device=device)
        ends = (
            torch.arange(side + 1, device=device).float() * each for side, each in zip(grid, config.reach, strict=True)
        )
        frames, rows, columns = ends
        seconds = (frames + 1 - config.reach[0]).clamp(min=0) / fps[:, None]  # (B, T + 1); the first frame is one alone
        places = [
            (edges[..., :-1] + edges[..., 1:]) / 2 / whole
            for edges, whole in zip((seconds, rows, columns), config.trained_on, strict=True)
        ]
        spread = (len(fps), *grid)
        time, row, column = places[0][:, :, None, None], places[1][:, None], places[2]
        whole = torch.stack([each.expand(spread) for each in (time, row, column)], dim=-1).flatten(1, 3)  # (B, N, 3)
        return shared_turns(whole, config.hidden_size, config.head_dim, theta=config.rope_theta)


def _normed(x: Tensor) -> Tensor:
    return rms_normalised(x, dim=-1, eps=_EPS).to(x.dtype)


def _modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """``(B, N, C)`` with a shift and a scale ``(B * G, 1, C)`` for each part of the tokens."""
    parts = _normed(x).reshape(len(shift), -1, x.shape[-1])
    return (parts * (1 + scale) + shift).reshape(x.shape)
