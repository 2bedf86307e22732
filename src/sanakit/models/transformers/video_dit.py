"""The linear diffusion transformer of SANA-Video (arXiv:2509.24695): clips in time linear in their length.

The image network over the tokens of all frames: linear attention with rotary positions in time, row and column, and a
Mix-FFN that ends in a convolution over time. Frames may have times of their own, so that a clip can begin with a
picture that is given: its noise level is zero throughout.

Ours too: with the image network's added positions in rows and columns only time is rotary, so that a network that
takes the weights of one of pictures makes, of a single frame, exactly what that one makes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor, nn

from sanakit.common.errors import ConfigError
from sanakit.layers.cross_attention import AttendedText, CrossAttention
from sanakit.layers.embeddings import CaptionProjection, ScalarEmbedding, added_position, check_interpolation
from sanakit.layers.linear import Linear
from sanakit.layers.linear_attention import LinearAttention
from sanakit.layers.mix_ffn import TemporalMixFFN
from sanakit.layers.norms import RMSNorm
from sanakit.models.transformers.clip_transformer import (
    ClipTransformer,
    Grid,
    gated_parts,
    modulated_parts,
    turns_of,
    unpatched,
)
from sanakit.models.transformers.condition import Condition
from sanakit.models.transformers.prompted import PromptedBlock, table, two_rows


@dataclass(frozen=True, kw_only=True, slots=True)
class TurnedLinearAttention:
    """ReLU linear attention with rotary positions in its numerator (SANA-Video)."""

    head_dim: int = 112
    qk_norm: bool = True
    eps: float = 1e-15
    qk_norm_eps: float = 1e-5


VideoAttention = TurnedLinearAttention
"""A union once there are layers of another kind."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoDiTConfig:
    """Every published SANA-Video transformer is one of these."""

    hidden_size: int
    num_layers: int
    cross_head_dim: int
    attention: VideoAttention = field(default_factory=TurnedLinearAttention)
    in_channels: int = 16
    out_channels: int = 16
    patch_size: tuple[int, int, int] = (1, 2, 2)  # frames, rows, columns of the latent in a token
    caption_channels: int = 2304
    mlp_ratio: float = 3.0
    sample_size: int = 30  # of the grid of tokens that it was trained on, the shorter side
    rope_max_length: int = 1024  # positions of an axis
    interpolation_scale: float | None = None  # of positions in a frame that are added, as to pictures; None = rotary

    def __post_init__(self) -> None:
        heads = {"attention.head_dim": self.attention.head_dim, "cross_head_dim": self.cross_head_dim}
        for name, head_dim in heads.items():
            if head_dim < 1 or self.hidden_size % head_dim:
                raise ConfigError(
                    f"hidden_size={self.hidden_size} does not split into heads of {name}={head_dim} channels; "
                    f"pick a {name} that divides it"
                )
        if self.attention.head_dim < 6 or self.attention.head_dim % 2:
            raise ConfigError(
                f"attention.head_dim={self.attention.head_dim} does not hold rotary positions in time, row and "
                f"column; give an even number of at least 6"
            )
        names = ("hidden_size", "num_layers", "in_channels", "out_channels", "caption_channels", "inner_size")
        sizes = {name: getattr(self, name) for name in (*names, "sample_size", "rope_max_length")}
        for name, size in (*sizes.items(), *(("patch_size", side) for side in self.patch_size)):
            if size < 1:
                raise ConfigError(f"{name}={size} must be at least 1")
        check_interpolation(self.interpolation_scale, self.hidden_size)
        if len(self.patch_size) != 3:
            raise ConfigError(f"patch_size={self.patch_size} must be of frames, rows and columns")

    @property
    def inner_size(self) -> int:
        """Channels behind the gate of the Mix-FFN."""
        return int(self.mlp_ratio * self.hidden_size)


class VideoBlock(PromptedBlock):
    """Modulated linear attention, cross-attention, modulated Mix-FFN; each adds to its input."""

    def __init__(self, config: VideoDiTConfig) -> None:
        super().__init__()
        size, attention = config.hidden_size, config.attention
        self.scale_shift_table = nn.Parameter(table(6, size))
        self.attention = LinearAttention(
            size,
            head_dim=attention.head_dim,
            qk_norm=attention.qk_norm,
            eps=attention.eps,
            qk_norm_eps=attention.qk_norm_eps,
        )
        self.cross_attention = CrossAttention(
            size, head_dim=config.cross_head_dim, qk_norm=attention.qk_norm, qk_norm_eps=attention.qk_norm_eps
        )
        self.mix_ffn = TemporalMixFFN(size, config.inner_size)

    def forward(
        self, x: Tensor, modulation: Tensor, text: AttendedText, size: tuple[int, int], turns: Tensor
    ) -> Tensor:
        """``x (B, N, C)``, ``modulation (B * G, 6, C)`` and what ``prepare`` made of the text to ``(B, N, C)``.

        The tokens of a clip are ``G`` parts of one length, each with its own modulation: the whole, frames, or tokens.
        ``size`` is the height and width of a frame's grid of tokens, ``turns`` are the tokens' positions.
        """
        height, width = size
        shift1, scale1, gate1, shift2, scale2, gate2 = (self.scale_shift_table + modulation).chunk(6, dim=1)
        x = gated_parts(x, gate1, self.attention(modulated_parts(x, shift1, scale1), turns=turns))
        x = x + self.cross_attention(x, text)
        return gated_parts(x, gate2, self.mix_ffn(modulated_parts(x, shift2, scale2), height=height, width=width))


class VideoDiT(ClipTransformer):
    """Velocity of the noisy latent of a clip, given its noise level and a prompt."""

    config: VideoDiTConfig
    caption_norm: RMSNorm

    def __init__(self, config: VideoDiTConfig) -> None:
        super().__init__()
        self.config = config
        size, patch = config.hidden_size, config.patch_size
        self.patch_embed = nn.Conv3d(config.in_channels, size, patch, stride=patch)
        self.time_embed = ScalarEmbedding(size)
        self.modulation = nn.Linear(size, 6 * size)
        self.caption_projection = CaptionProjection(config.caption_channels, size)
        self.caption_norm = RMSNorm(size, eps=1e-5)
        self.blocks = nn.ModuleList(VideoBlock(config) for _ in range(config.num_layers))
        self.final_scale_shift_table = nn.Parameter(table(2, size))
        self.final = Linear(size, math.prod(patch) * config.out_channels)

    def forward(self, latent: Tensor, timestep: Tensor, condition: Condition) -> Tensor:
        """Predict ``noise - latent``.

        Args:
            latent: noisy latent ``(B, C, T, H, W)``; frames and sides multiples of the patch size.
            timestep: ``1000 * sigma``, of each clip ``(B,)``, of each frame of tokens ``(B, T)`` or of each token
                ``(B, T, H, W)``, in any float dtype.
            condition: what ``prepare`` made of the ``B`` prompts, and which frames are clean.

        Returns:
            velocity ``(B, C, T, H, W)`` in the dtype of the network's input.

        Raises:
            ShapeError: the channels, the sides, the number of times or prompts do not fit, or the clip is longer or
                larger than the positions.
        """
        grid = self.grid_of(latent, condition, self.config.rope_max_length)
        x = self.patch_embed(latent).flatten(2).mT.contiguous()  # (B, N, C), frame after frame
        x = self._placed(x, grid)
        time = two_rows(self.time_embed, self.times_of(timestep, condition, grid).flatten())  # (B * G, C)
        modulation = two_rows(self.modulation, F.silu(time)).unflatten(-1, (6, -1))
        turns = turns_of(grid, self.config.attention.head_dim, x, space=self.config.interpolation_scale is None)
        for index, block in enumerate(self.blocks):
            x = block(x, modulation, condition.text_of(index), grid[1:], turns)
        shift, scale = (self.final_scale_shift_table + time[:, None]).chunk(2, dim=1)
        x = self.final(modulated_parts(x, shift, scale))  # (B, N, p_t * p_h * p_w * C)
        return unpatched(x, grid, self.config.patch_size)

    def _placed(self, x: Tensor, grid: Grid) -> Tensor:
        """Tokens ``(B, N, C)`` with what the image network adds to those of a picture, in every frame."""
        base, scale = self.config.sample_size, self.config.interpolation_scale
        position = added_position(grid[1:], x, base_size=base, interpolation_scale=scale)
        return (x.unflatten(1, (grid[0], -1)) + position).flatten(1, 2)
