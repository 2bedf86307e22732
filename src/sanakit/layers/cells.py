"""Frames, rows and columns of a clip's cells as channels, and back."""

from __future__ import annotations

from torch import Tensor

Stride = tuple[int, int, int]
"""Frames, rows and columns of a cell."""


def to_cells(x: Tensor, stride: Stride) -> Tensor:
    """``(B, C, T, H, W)`` to fewer positions of as many more channels: frame, row and column within a cell."""
    time, height, width = stride
    x = x.unflatten(4, (-1, width)).unflatten(3, (-1, height)).unflatten(2, (-1, time))
    return x.permute(0, 1, 3, 5, 7, 2, 4, 6).flatten(1, 4)


def from_cells(x: Tensor, stride: Stride) -> Tensor:
    """The reverse: ``(B, C * cell, T, H, W)`` to cells of pixels."""
    x = x.unflatten(1, (-1, *stride))
    return x.permute(0, 1, 5, 2, 6, 3, 7, 4).flatten(6, 7).flatten(4, 5).flatten(2, 3)
