"""Pictures of 8 bits as the tensors that networks take, and back: in [-1, 1], "signed", or in [0, 1], "unit"."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Picture = NDArray[np.uint8]
"""``(H, W, 3)`` RGB."""


def to_signed(pictures: Sequence[Picture]) -> Tensor:
    """Pictures of one size as ``(B, 3, H, W)`` float32 in [-1, 1], channels last."""
    return _stacked(pictures).div_(127.5).sub_(1)  # in place: a picture of 4096 px takes 200 MB


def to_unit(pictures: Sequence[Picture]) -> Tensor:
    """Pictures of one size as ``(B, 3, H, W)`` float32 in [0, 1], channels last."""
    return _stacked(pictures).div_(255)


def from_signed(pixels: Tensor) -> list[Picture]:
    """``(B, 3, H, W)`` in about [-1, 1] to pictures, rounded."""
    return _levels((pixels.float() + 1).mul_(127.5))


def from_unit(pixels: Tensor) -> list[Picture]:
    """``(B, 3, H, W)`` in about [0, 1] to pictures, rounded."""
    return _levels(pixels.float() * 255)


def spread_visible(colours: Picture, seen: NDArray[np.bool_], levels: int = 16) -> Picture:
    """``(H, W, 3)`` where pixels that are not ``seen``, ``(H, W)``, have a mean of seen ones near by: in blocks of up
    to 2 to the power of ``levels``, and beyond that white."""
    if seen.all():
        return colours
    weight = torch.from_numpy(seen).float()[None, None]  # (1, 1, H, W)
    shown = torch.from_numpy(colours.astype(np.float32)).permute(2, 0, 1)[None] * weight
    return _spread(shown, weight, levels)[0].permute(1, 2, 0).round().byte().numpy()


def _stacked(pictures: Sequence[Picture]) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float()


def _levels(values: Tensor) -> list[Picture]:
    levels = values.round_().clamp_(0, 255).to(torch.uint8)  # values are nobody else's
    return list(levels.permute(0, 2, 3, 1).contiguous().numpy(force=True))  # each (H, W, 3)


def _spread(shown: Tensor, seen: Tensor, levels: int) -> Tensor:
    """Colours ``(1, 3, H, W)``, each weighted with ``seen`` ``(1, 1, H, W)``; where that is 0, those of a picture of
    half the size, and so on ``levels`` times."""
    coarse = torch.full((1, 1, 1, 1), 255.0)
    if levels > 0 and max(seen.shape[-2:]) > 1:
        half_shown, half_seen = (F.avg_pool2d(part, 2, ceil_mode=True) for part in (shown, seen))
        coarse = _spread(half_shown, half_seen, levels - 1)
        coarse = coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)[..., : seen.shape[-2], : seen.shape[-1]]
    return torch.where(seen > 0, shown / seen, coarse)


def evenly(total: int, most: int) -> list[int]:
    """Up to ``most`` numbers of ``total`` frames, the first and the last among them, evenly spaced."""
    return np.linspace(0, total - 1, min(total, most)).round().astype(int).tolist()
