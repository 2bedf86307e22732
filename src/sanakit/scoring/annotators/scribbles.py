"""Lines as a hand draws them, from soft edges or from a drawing.

Source: NVlabs/Sana, ``app/sana_controlnet_pipeline``: ridges of the soft edges, blurred until they are smooth, and made
as thick as is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sanakit.scoring.annotators.edges import Gray, blurred, gray_of, grown, shrunk

MAX_THICKNESS = 24  # of training at random, upstream
DEFAULT_THICKNESS = 2
_SIDE = 512  # pixels of the shorter side, below which everything gets smaller with the picture
_SIGMA = 3.0
_RIDGE = 127  # the least level of one
_INK = 4  # of 255 levels, of a blurred ridge


def scribble(edges: Gray, thickness: int = DEFAULT_THICKNESS) -> NDArray[np.bool_]:
    """``(H, W)``: lines along the ridges of soft edges from 0 to 255."""
    sigma = _SIGMA * scale_of(edges.shape)
    ridges = np.where(_is_greatest(blurred(edges, sigma)), 255.0, 0.0)
    return thickened(blurred(ridges, sigma) > _INK, thickness)


def scale_of(shape: Sequence[int]) -> float:
    """Of lines in a picture ``(H, W)``: 1 at the sizes of the published models, less in small ones."""
    return min(1.0, min(shape) / _SIDE)


def _is_greatest(levels: Gray) -> NDArray[np.bool_]:
    """Above ``_RIDGE``, and the greatest of three pixels along one of four directions."""
    p = np.pad(levels, 1, mode="edge")
    height, width = levels.shape
    found = np.zeros(levels.shape, dtype=bool)
    for y, x in ((0, 1), (1, 0), (1, 1), (1, -1)):
        one = p[1 + y : 1 + y + height, 1 + x : 1 + x + width]
        other = p[1 - y : 1 - y + height, 1 - x : 1 - x + width]
        found |= (levels >= one) & (levels >= other)
    return found & (levels > _RIDGE)


def thickened(lines: NDArray[np.bool_], thickness: int) -> NDArray[np.bool_]:
    """0 makes them thinner, 1 leaves them, more makes them thicker by half of it."""
    if thickness == 0:
        return shrunk(lines, max(1, round(4 * scale_of(lines.shape))))
    return grown(lines, thickness // 2) if thickness > 1 else lines


def ink(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """``(H, W)``: the lines of a drawing ``(H, W, 3)``, dark on light or light on dark, whatever most of it is."""
    gray = gray_of(pixels)
    paper = np.median(gray)
    distance = np.abs(gray - paper)
    return np.asarray(distance > max(0.35 * distance.max(), 24.0))
