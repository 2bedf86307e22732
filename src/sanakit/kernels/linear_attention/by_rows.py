"""The same row by row: the heads of one row are a view of what one product gave, those of a batch would be copied."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode


def fits(q: Tensor, k: Tensor, v: Tensor) -> bool:
    """Whether these are float32 or wider, on the CPU, and no gradients are wanted: training has many small rows. Not
    where every operation is watched, as by plans of memory, which it makes slow."""
    if v.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling() or not len(v):
        return False
    if _get_current_dispatch_mode() is not None:
        return False
    wide = q.dtype == k.dtype == v.dtype in (torch.float32, torch.float64)
    return wide and q.shape[1] == k.shape[1] and k.shape == v.shape


def linear_attention(q: Tensor, k: Tensor, v: Tensor, *, eps: float) -> Tensor:
    """As the reference, to the bit; ``(B, heads, N, D)``, of which the heads of a token lie together in memory."""
    with torch.autocast("cpu", enabled=False):
        rows = [_row(*row, eps).transpose(0, 1) for row in zip(F.relu(q), F.relu(k), v, strict=True)]  # (N, heads, D)
    return torch.stack(rows).transpose(1, 2)


def _row(q: Tensor, k: Tensor, v: Tensor, eps: float) -> Tensor:
    """Of positive ``(heads, N, D)``."""
    return q @ (k.mT @ v) / (q @ k.sum(dim=-2, keepdim=True).mT + eps)
