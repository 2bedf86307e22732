"""Pictures whose opposite edges meet, so that they can be laid side by side.

The latent is rolled by another amount before every step: networks pad their convolutions with zeros, and so no place is
next to that padding twice; attention and what works cell by cell know no edges. No network is changed or runs longer.
The autoencoder has one go only, so it is given more of the pattern around, which is cut off again.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

WRAPPED = 4
"""Cells that are added at each side before decoding."""
_TURNS = (0.7548776662, 0.5698402910)  # of the sides a step: the most even sequence of points in the plane


def shift_of(size: Sequence[int], step: int) -> tuple[int, int]:
    """Rows and columns by which a latent of ``size`` ``(h, w)`` is rolled for a step."""
    rows, columns = (int(step * turn % 1.0 * side) for turn, side in zip(_TURNS, size, strict=True))
    return rows, columns


def wrap(latent: Tensor) -> Tensor:
    """``(B, C, h, w)`` with `WRAPPED` more cells of the pattern at each side."""
    for dim in (-2, -1):
        side = latent.shape[dim]
        wanted = [index % side for index in range(-WRAPPED, side + WRAPPED)]
        latent = latent.index_select(dim, torch.tensor(wanted, device=latent.device))
    return latent


def middle(pixels: Tensor, size: Sequence[int], compression: int) -> Tensor:
    """``(B, 3, H, W)`` of a latent that was wrapped, or was not, cut to that of ``size`` ``(h, w)``."""
    height, width = (side * compression for side in size)
    top, left = (pixels.shape[-2] - height) // 2, (pixels.shape[-1] - width) // 2
    return pixels[..., top : top + height, left : left + width]
