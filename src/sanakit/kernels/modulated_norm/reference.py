"""Norms of tokens and what a block does with them, in plain PyTorch."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from sanakit.kernels.pixel_norm.reference import rms_normalised

EPS = 1e-6


def modulated_norm(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Layer norm without weights, then ``* (1 + scale) + shift``; ``(B, N, C)`` with ``(B, 1, C)``.

    Source: adaptive norm of DiT, arXiv:2212.09748, section 3.2.
    """
    return F.layer_norm(x, x.shape[-1:], eps=EPS) * (1 + scale) + shift


def rms_norm(x: Tensor, weight: Tensor, *, eps: float) -> Tensor:
    """``x / rms(x) * weight`` over the last axis, ``(..., C)`` with ``(C,)``, in the dtype of ``x``."""
    return (rms_normalised(x, dim=-1, eps=eps) * weight).to(x.dtype)


def gated_sum(x: Tensor, gate: Tensor, y: Tensor) -> Tensor:
    """``x + gate * y``, ``(B, N, C)`` with a gate ``(B, 1, C)``."""
    return x + gate * y
