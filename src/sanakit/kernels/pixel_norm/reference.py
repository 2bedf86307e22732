"""Root-mean-square norm, the formula in plain PyTorch."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Activation = Literal["none", "silu", "relu"]


def activated(x: Tensor, activation: Activation) -> Tensor:
    match activation:
        case "none":
            return x
        case "silu":
            return F.silu(x)
        case "relu":
            return F.relu(x)


def rms_normalised(x: Tensor, *, dim: int, eps: float) -> Tensor:
    """``x / sqrt(mean(x^2) + eps)`` along ``dim``, in float32 or wider."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return wide * torch.rsqrt(wide.square().mean(dim=dim, keepdim=True) + eps)


def pixel_rms_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float, activation: Activation = "none") -> Tensor:
    """The activation of ``x / rms(x) * weight + bias``, over the channels of every pixel.

    Args:
        x: ``(B, C, H, W)``.
        weight, bias: ``(C,)``.
        eps: added to the mean square.

    Returns:
        ``(B, C, H, W)`` in the dtype of x; the mean runs in float32 or wider.

    Source: the ``trms2d`` norm of DC-AE, arXiv:2410.10733.
    """
    y = rms_normalised(x, dim=1, eps=eps) * weight[:, None, None] + bias[:, None, None]
    return activated(y.to(x.dtype), activation)
