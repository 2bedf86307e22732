"""Pictures whose opposite edges meet, so that they can be laid side by side.

Network and autoencoder are given more of the pattern around, which is cut off again: what their convolutions see beyond
an edge is then the other side. No network is changed, and each sees the same frame at every step. Rolling the latent
before every step was tried and costs less, but networks take their padding for the frame of a picture, and where that
moves nothing is left of what is in it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

SHOWN, DECODED = 2, 4
"""Cells that are added at each side, for every step and before decoding."""


def wrap(latent: Tensor, cells: int) -> Tensor:
    """``(B, C, h, w)`` with so many more cells of the pattern at each side."""
    for dim in (-2, -1) if cells else ():
        side = latent.shape[dim]
        wanted = [index % side for index in range(-cells, side + cells)]
        latent = latent.index_select(dim, torch.tensor(wanted, device=latent.device))
    return latent


def middle(values: Tensor, size: Sequence[int], scale: int = 1) -> Tensor:
    """``(B, C, H, W)`` of a latent that was wrapped, or was not, cut to ``scale`` times its own ``size`` ``(h, w)``."""
    height, width = (side * scale for side in size)
    top, left = (values.shape[-2] - height) // 2, (values.shape[-1] - width) // 2
    return values[..., top : top + height, left : left + width]
