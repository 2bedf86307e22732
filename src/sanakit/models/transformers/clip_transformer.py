"""What transformers of clips have in common: a grid of tokens in time, row and column, and times of its parts."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from sanakit.common.errors import ShapeError
from sanakit.kernels.modulated_norm import gated_sum, modulated_norm
from sanakit.layers.rotary import clip_turns
from sanakit.models.transformers.condition import Condition
from sanakit.models.transformers.prompted import PromptedTransformer

Grid = tuple[int, int, int]
"""Frames, rows and columns of tokens."""


class ClipTransformerConfig(Protocol):
    """The config of such a network."""

    @property
    def caption_channels(self) -> int: ...
    @property
    def in_channels(self) -> int: ...
    @property
    def patch_size(self) -> tuple[int, int, int]: ...


class ClipTransformer(PromptedTransformer):
    """A network over the tokens of all frames of a latent ``(B, C, T, H, W)``."""

    config: ClipTransformerConfig

    def grid_of(self, latent: Tensor, condition: Condition, longest: int | None = None) -> Grid:
        """Of tokens, on no axis more than ``longest`` of them.

        Raises:
            ShapeError: the channels, the sides or the number of prompts do not fit, or it is beyond the positions.
        """
        channels, patch = self.config.in_channels, self.config.patch_size
        fits = latent.ndim == 5 and latent.shape[1] == channels
        if not fits or any(side % part for side, part in zip(latent.shape[2:], patch, strict=True)):
            raise ShapeError(
                f"a latent {tuple(latent.shape)} does not fit this network, which reads (B, {channels}, T, H, W) with "
                f"frames and sides multiples of {patch}"
            )
        if condition.batch_size != len(latent):
            raise ShapeError(f"{len(latent)} latents with {condition.batch_size} prompts; every latent needs one")
        frames, height, width = (side // part for side, part in zip(latent.shape[2:], patch, strict=True))
        if longest is not None and max(frames, height, width) > longest:
            raise ShapeError(
                f"a clip of {frames} frames of {height}x{width} tokens is beyond this network's {longest} positions"
            )
        return frames, height, width

    def times_of(self, timestep: Tensor, condition: Condition, grid: Grid) -> Tensor:
        """``(B, G)``, of ``G`` parts of a clip, 0 where it is clean.

        Raises:
            ShapeError: their number does not fit.
        """
        rows, clean = condition.batch_size, condition.clean
        if tuple(timestep.shape) not in ((rows,), (rows, grid[0]), (rows, *grid)):
            raise ShapeError(
                f"times {tuple(timestep.shape)} do not fit {rows} clips of {grid[0]} frames; give one for each clip, "
                f"each frame or each token"
            )
        if clean is None:
            return timestep.reshape(rows, -1)
        if tuple(clean.shape) != (rows, grid[0]):
            raise ShapeError(f"clean frames {tuple(clean.shape)} do not fit {rows} clips of {grid[0]} frames")
        of_parts = timestep[:, None] if timestep.ndim == 1 else timestep
        return (of_parts * ~(clean[:, :, None, None] if timestep.ndim == 4 else clean)).flatten(1)


def gated_parts(x: Tensor, gate: Tensor, y: Tensor) -> Tensor:
    """``x + gate * y`` for ``(B, N, C)``, with a gate ``(B * G, 1, C)`` for each part of the tokens."""
    parts = (len(gate), -1, x.shape[-1])
    return gated_sum(x.reshape(parts), gate, y.reshape(parts)).reshape(x.shape)


def weighed_parts(gate: Tensor, y: Tensor) -> Tensor:
    """``gate * y``, the same way."""
    return (gate * y.reshape(len(gate), -1, y.shape[-1])).reshape(y.shape)


def modulated_parts(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """The norm of ``(B, N, C)`` with a shift and a scale ``(B * G, 1, C)`` for each part of the tokens."""
    return modulated_norm(x.reshape(len(shift), -1, x.shape[-1]), shift, scale).reshape(x.shape)


def turns_of(grid: Grid, head_dim: int, x: Tensor, *, space: bool = True) -> Tensor:
    """Rotary positions ``(N, D / 2)`` of a grid of tokens, as wide as the sums of attention over ``x``; without
    ``space`` the channels of rows and columns do not turn."""
    frames = torch.arange(grid[0], device=x.device)
    if space:
        turns = clip_turns(frames, *grid[1:], head_dim)
    else:
        turns = clip_turns(frames, 1, 1, head_dim).repeat_interleave(grid[1] * grid[2], dim=0)
    return turns if x.dtype == torch.float64 else turns.to(torch.complex64)


def unpatched(x: Tensor, grid: Grid, patch: tuple[int, int, int]) -> Tensor:
    """Tokens ``(B, N, p_t * p_h * p_w * C)`` to a latent ``(B, C, T, H, W)``."""
    x = x.unflatten(1, grid).unflatten(-1, (*patch, -1))  # (B, T, H, W, p_t, p_h, p_w, C)
    return x.permute(0, 7, 1, 4, 2, 5, 3, 6).flatten(6, 7).flatten(4, 5).flatten(2, 3)
