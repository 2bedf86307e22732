"""Root-mean-square norm, the formula in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor


def rms_normalised(x: Tensor, *, dim: int, eps: float) -> Tensor:
    """``x / sqrt(mean(x^2) + eps)`` along ``dim``, in float32 or wider."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return wide * torch.rsqrt(wide.square().mean(dim=dim, keepdim=True) + eps)


def pixel_rms_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """``(B, C, H, W)``, over the channels of every pixel, with ``weight`` and ``bias`` ``(C,)``; in the dtype of x."""
    return (rms_normalised(x, dim=1, eps=eps) * weight[:, None, None] + bias[:, None, None]).to(x.dtype)
