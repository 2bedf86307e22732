"""Root-mean-square norms; statistics run in float32 or wider."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sanakit.kernels.modulated_norm import rms_norm
from sanakit.kernels.pixel_norm import Activation, pixel_rms_norm


class RMSNorm(nn.Module):
    """``x / rms(x) * weight`` over the last axis, ``(..., C)``."""

    def __init__(self, channels: int, *, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, eps=self.eps)


class PixelRMSNorm(nn.Module):
    """RMS norm over the channels of every pixel, with weight and bias, ``(B, C, H, W)``.

    Source: the ``trms2d`` norm of DC-AE, arXiv:2410.10733.
    """

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, *, activation: Activation = "none") -> Tensor:
        return pixel_rms_norm(x, self.weight, self.bias, self.eps, activation)
