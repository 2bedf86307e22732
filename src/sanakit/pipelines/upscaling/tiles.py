"""Enlarge a picture in tiles, so that memory is bounded and yet every pixel is as if it were done at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sanakit.common.progress import OnProgress, no_progress
from sanakit.pipelines.decoding.memory import UPSCALING_TILE
from sanakit.pipelines.upscaling.upscaler import Upscaler

Levels = NDArray[np.unsignedinteger[Any]]
"""uint8 or uint16, from 0 to the highest number of its dtype."""

ENDLESS_REACH = 32  # context of a tile where an upscaler names no reach; such tiles are not quite equal to the whole


def upscale_levels(
    upscaler: Upscaler, levels: Levels, *, tile: int = UPSCALING_TILE, on_progress: OnProgress = no_progress
) -> Levels:
    """``(H, W, 3)`` to ``(scale * H, scale * W, 3)`` of the same dtype, rounded; or gray, ``(H, W)``, to the same.

    Gray goes through as three equal channels, whose mean it becomes. Each tile is computed with as much of its
    surroundings as its pixels depend on, which is cut off again. At the edges of the picture there is nothing around,
    as in the whole.

    Args:
        tile: side of a tile in pixels of the input.
        on_progress: told after every tile.
    """
    height, width = levels.shape[:2]
    highest = float(np.iinfo(levels.dtype).max)
    reach = ENDLESS_REACH if upscaler.reach is None else upscaler.reach
    larger = np.empty((upscaler.scale * height, upscaler.scale * width, *levels.shape[2:]), levels.dtype)
    tiles = [(rows, columns) for rows in _spans(height, tile, reach) for columns in _spans(width, tile, reach)]
    for done, (rows, columns) in enumerate(tiles, start=1):
        part = np.ascontiguousarray(levels[rows.seen, columns.seen])
        pixels = upscaler(_unit(part, highest))[0]  # (3, scale * h, scale * w)
        pixels = pixels if levels.ndim == 3 else pixels.mean(dim=0, keepdim=True)
        pixels = pixels[:, rows.kept(upscaler.scale), columns.kept(upscaler.scale)]
        larger[rows.place(upscaler.scale), columns.place(upscaler.scale)] = _levels(pixels, highest, levels.dtype)
        on_progress(done, len(tiles), "upscaling")
    return larger


class _Span:
    """Of one side of a tile: from ``begin`` to ``end``, with context from ``first`` to ``last``."""

    def __init__(self, begin: int, end: int, first: int, last: int) -> None:
        self.begin, self.end, self.first = begin, end, first
        self.seen = slice(first, last)

    def place(self, scale: int) -> slice:
        """Where it belongs in the larger picture."""
        return slice(scale * self.begin, scale * self.end)

    def kept(self, scale: int) -> slice:
        """What of the enlarged tile is not context."""
        return slice(scale * (self.begin - self.first), scale * (self.end - self.first))


def _spans(length: int, tile: int, reach: int) -> Iterator[_Span]:
    for begin in range(0, length, tile):
        end = min(begin + tile, length)
        yield _Span(begin, end, max(begin - reach, 0), min(end + reach, length))


def _unit(levels: Levels, highest: float) -> Tensor:
    """``(H, W, 3)`` or ``(H, W)`` to ``(1, 3, H, W)`` float32 in [0, 1]."""
    colours = levels if levels.ndim == 3 else levels[..., None].repeat(3, axis=2)
    return torch.from_numpy(colours.astype(np.float32)).permute(2, 0, 1)[None].contiguous() / highest


def _levels(pixels: Tensor, highest: float, dtype: np.dtype[Any]) -> Levels:
    """``(3, H, W)`` to ``(H, W, 3)``, ``(1, H, W)`` to ``(H, W)``; what is no number would wrap around silently, so it
    is black."""
    rounded = (pixels.float().nan_to_num(0.0) * highest).round().clamp(0, highest)
    moved = rounded.permute(1, 2, 0) if len(rounded) == 3 else rounded[0]
    return moved.numpy(force=True).astype(dtype)
