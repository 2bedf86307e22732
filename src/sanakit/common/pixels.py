"""Pictures of 8 bits as the tensors that networks take, and back: in [-1, 1], "signed", or in [0, 1], "unit"."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Picture = NDArray[np.uint8]
"""``(H, W, 3)`` RGB."""


def to_signed(pictures: Sequence[Picture]) -> Tensor:
    """Pictures of one size as ``(B, 3, H, W)`` float32 in [-1, 1], channels last."""
    return _stacked(pictures) / 127.5 - 1


def to_unit(pictures: Sequence[Picture]) -> Tensor:
    """Pictures of one size as ``(B, 3, H, W)`` float32 in [0, 1], channels last."""
    return _stacked(pictures) / 255


def from_signed(pixels: Tensor) -> list[Picture]:
    """``(B, 3, H, W)`` in about [-1, 1] to pictures, rounded."""
    return _levels((pixels.float() + 1) * 127.5)


def from_unit(pixels: Tensor) -> list[Picture]:
    """``(B, 3, H, W)`` in about [0, 1] to pictures, rounded."""
    return _levels(pixels.float() * 255)


def _stacked(pictures: Sequence[Picture]) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float()


def _levels(values: Tensor) -> list[Picture]:
    levels = values.round().clamp(0, 255).to(torch.uint8)
    return list(levels.permute(0, 2, 3, 1).contiguous().numpy(force=True))  # each (H, W, 3)
