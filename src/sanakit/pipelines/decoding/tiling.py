"""Decode a latent, or encode a picture, in overlapping tiles that fade into each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from sanakit.common.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Tiling:
    """Square tiles of ``tile`` pixels a side, one every ``stride`` pixels; neighbours overlap by the difference."""

    tile: int
    stride: int

    def __post_init__(self) -> None:
        if not 0 < self.stride <= self.tile <= 2 * self.stride:
            raise ConfigError(
                f"tiles of {self.tile} px every {self.stride} px leave gaps or overlap twice; "
                f"the stride must be between half a tile and a whole one."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Bands:
    """The whole width, so many rows of pixels at a time; without seams."""

    rows: int


def decode_tiled(decode: Callable[[Tensor], Tensor], latent: Tensor, tiling: Tiling, compression: int) -> Tensor:
    """``(B, C, h, w)`` to ``(B, 3, H, W)`` float32 on the CPU, one tile in memory at a time; of clips
    ``(B, C, t, h, w)`` to ``(B, 3, T, H, W)``.

    The decoder's attention is global, so a tile sees less than the whole and seams differ; the overlap is crossed
    with linear ramps that add up to one. The geometry is that of the DC-AE in diffusers.

    Args:
        decode: latent tile to its pixels, ``compression`` times larger.
        latent: the scaled latent.
        tiling: rounded down to whole latent positions.
        compression: pixels of one side per latent position.
    """
    tile, stride = _positions(tiling, compression)
    height, width = latent.shape[-2:]
    canvas: Tensor | None = None
    for rows, columns in tiles(latent, tiling, compression):
        pixels = decode(latent[..., rows, columns]).to("cpu", torch.float32)
        pixels *= _ramp(rows.start, rows.stop, height, tile - stride, compression)[:, None]
        pixels *= _ramp(columns.start, columns.stop, width, tile - stride, compression)
        if canvas is None:
            canvas = torch.zeros(*pixels.shape[:-2], height * compression, width * compression)
        down, right = (slice(each.start * compression, each.stop * compression) for each in (rows, columns))
        canvas[..., down, right] += pixels
    assert canvas is not None
    return canvas


def tiles(latent: Tensor, tiling: Tiling, compression: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of a latent ``(..., h, w)`` that each tile has, in the order in which they are decoded."""
    tile, stride = _positions(tiling, compression)
    height, width = latent.shape[-2:]
    for top, bottom in spans(height, tile, stride):
        for left, right in spans(width, tile, stride):
            yield slice(top, bottom), slice(left, right)


def _positions(tiling: Tiling, compression: int) -> tuple[int, int]:
    """Tile and stride of a latent."""
    return max(tiling.tile // compression, 2), max(tiling.stride // compression, 1)


def encode_tiled(encode: Callable[[Tensor], Tensor], pixels: Tensor, tiling: Tiling, compression: int) -> Tensor:
    """``(B, 3, H, W)`` to the latent ``(B, C, h, w)`` float32, one tile in memory at a time; the way back of
    ``decode_tiled``, with its tiles.

    Args:
        encode: a tile of pixels to its latent, ``compression`` times smaller.
        pixels: both sides multiples of ``compression``.
    """
    tile, stride = _positions(tiling, compression)
    height, width = (side // compression for side in pixels.shape[-2:])
    canvas: Tensor | None = None
    for top, bottom in spans(height, tile, stride):
        for left, right in spans(width, tile, stride):
            rows, columns = (slice(a * compression, b * compression) for a, b in ((top, bottom), (left, right)))
            latent = encode(pixels[..., rows, columns]).float()
            latent *= _ramp(top, bottom, height, tile - stride, 1)[:, None].to(latent.device)
            latent *= _ramp(left, right, width, tile - stride, 1).to(latent.device)
            if canvas is None:
                canvas = latent.new_zeros(*latent.shape[:2], height, width)
            canvas[..., top:bottom, left:right] += latent
    assert canvas is not None
    return canvas


def spans(length: int, tile: int, stride: int) -> Iterator[tuple[int, int]]:
    """Begin and end of each tile along one side; none lies wholly inside the one before it."""
    for begin in range(0, length, stride):
        if begin == 0 or begin + tile - stride < length:
            yield begin, min(begin + tile, length)


def _ramp(begin: int, end: int, length: int, overlap: int, compression: int) -> Tensor:
    """Weight of each pixel row of a tile: rising from 0 where another tile fades out, then falling likewise."""
    weight = torch.ones((end - begin) * compression)
    extent = overlap * compression
    rising = torch.arange(extent) / max(extent, 1)
    if begin > 0:
        weight[:extent] = rising
    if end < length:
        weight[-extent or len(weight) :] = 1 - rising
    return weight
