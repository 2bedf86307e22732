"""Edges of pictures without any network: gradients after blurring, thinned, and followed from strong to weak.

Everything is in float64, so that the same picture gives the same lines on every machine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Gray = NDArray[np.float64]
"""``(H, W)`` from 0 to 255."""

_SIGMA = 1.4


def gray_of(pixels: NDArray[np.uint8]) -> Gray:
    """``(H, W, 3)`` as BT.601 has it."""
    return np.asarray(pixels.astype(np.float64) @ np.array([0.299, 0.587, 0.114]))


def blurred(levels: Gray, sigma: float) -> Gray:
    """A Gaussian, mirrored at the borders."""
    radius = max(1, round(3 * sigma))
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    taps /= taps.sum()
    for axis in (0, 1):
        padded = np.pad(levels, [(radius, radius) if each == axis else (0, 0) for each in (0, 1)], mode="symmetric")
        length = levels.shape[axis]
        levels = sum(tap * _part(padded, axis, start, length) for start, tap in enumerate(taps))
    return levels


def _part(levels: Gray, axis: int, start: int, length: int) -> Gray:
    return levels[start : start + length] if axis == 0 else levels[:, start : start + length]


def gradient(levels: Gray) -> tuple[Gray, Gray]:
    """Down and right, by Sobel's filters."""
    p = np.pad(levels, 1, mode="edge")
    right = (p[:-2, 2:] - p[:-2, :-2]) + 2 * (p[1:-1, 2:] - p[1:-1, :-2]) + (p[2:, 2:] - p[2:, :-2])
    down = (p[2:, :-2] - p[:-2, :-2]) + 2 * (p[2:, 1:-1] - p[:-2, 1:-1]) + (p[2:, 2:] - p[:-2, 2:])
    return down, right


def canny(pixels: NDArray[np.uint8], *, low: float = 40.0, high: float = 100.0) -> NDArray[np.bool_]:
    """``(H, W)``: thin edges, of strength ``high`` or joined to such by edges of strength ``low``.

    Of every channel's gradient the strongest counts, so that colours of one brightness have an edge too.

    Source: Canny, A Computational Approach to Edge Detection, 1986.
    """
    channels = [gradient(blurred(channel.astype(np.float64), _SIGMA)) for channel in np.moveaxis(pixels, -1, 0)]
    strengths = np.stack([np.hypot(down, right) for down, right in channels])
    strongest = strengths.argmax(axis=0)[None]
    down, right = (
        np.take_along_axis(np.stack([channel[axis] for channel in channels]), strongest, 0)[0] for axis in (0, 1)
    )
    strength = np.take_along_axis(strengths, strongest, 0)[0]
    thin = is_ridge(strength, down, right)
    return joined(thin & (strength >= high), thin & (strength >= low))


def is_ridge(strength: Gray, down: Gray, right: Gray) -> NDArray[np.bool_]:
    """Where ``strength`` is the greatest across the edge, in the nearest of four directions."""
    p = np.pad(strength, 1)
    angle = np.rad2deg(np.arctan2(down, right)) % 180
    sector = ((angle + 22.5) // 45).astype(int) % 4
    steps = ((0, 1), (1, 1), (1, 0), (1, -1))
    height, width = strength.shape
    found = np.zeros(strength.shape, dtype=bool)
    for number, (y, x) in enumerate(steps):
        one = p[1 + y : 1 + y + height, 1 + x : 1 + x + width]
        other = p[1 - y : 1 - y + height, 1 - x : 1 - x + width]
        found |= (sector == number) & (strength > one) & (strength >= other)
    return found


def joined(strong: NDArray[np.bool_], weak: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What of ``weak`` is reached from ``strong``, corners included."""
    found, new = strong & weak, strong & weak
    while new.any():
        new = grown(new, 3) & weak & ~found
        found |= new
    return found


def grown(mask: NDArray[np.bool_], side: int) -> NDArray[np.bool_]:
    """Dilated by a square of ``side`` pixels; its anchor is pixel ``side // 2``, as OpenCV has it."""
    before = side // 2
    for axis in (0, 1):
        margins = [(before, side - 1 - before) if each == axis else (0, 0) for each in (0, 1)]
        padded, length = np.pad(mask, margins), mask.shape[axis]
        parts = [padded[s : s + length] if axis == 0 else padded[:, s : s + length] for s in range(side)]
        mask = np.logical_or.reduce(parts)
    return mask


def shrunk(mask: NDArray[np.bool_], side: int) -> NDArray[np.bool_]:
    """Eroded by a square of ``side`` pixels; beyond the borders all is set."""
    return np.asarray(~grown(~mask, side))


def soft_edges(pixels: NDArray[np.uint8], *, sigma: float) -> Gray:
    """``(H, W)`` from 0 to 255: how much of an edge every pixel is, with soft flanks, as of a network of edges."""
    channels = [gradient(blurred(channel.astype(np.float64), sigma)) for channel in np.moveaxis(pixels, -1, 0)]
    strength = np.max([np.hypot(down, right) for down, right in channels], axis=0)
    return np.asarray(255 * (1 - np.exp(-strength / 60)))
