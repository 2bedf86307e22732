"""What transformers of clips have in common: a grid of tokens in time, row and column, and times of its parts."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from sanakit.common.errors import ShapeError
from sanakit.kernels.modulated_norm import gated_sum
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

    def grid_of(self, latent: Tensor, condition: Condition) -> Grid:
        """Of tokens.

        Raises:
            ShapeError: the channels, the sides or the number of prompts do not fit.
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
