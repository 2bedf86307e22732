"""Root-mean-square norms; statistics run in float32 or wider."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def _rms(x: Tensor, dim: int, eps: float) -> Tensor:
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return wide * torch.rsqrt(wide.square().mean(dim=dim, keepdim=True) + eps)


class RMSNorm(nn.Module):
    """``x / rms(x) * weight`` over the last axis, ``(..., C)``."""

    def __init__(self, channels: int, *, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return (_rms(x, -1, self.eps) * self.weight).to(x.dtype)


class PixelRMSNorm(nn.Module):
    """RMS norm over the channels of every pixel, with weight and bias, ``(B, C, H, W)``.

    Source: the ``trms2d`` norm of DC-AE, arXiv:2410.10733.
    """

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight[:, None, None], self.bias[:, None, None]
        return (_rms(x, 1, self.eps) * weight + bias).to(x.dtype)
