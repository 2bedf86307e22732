"""A linear layer of weights and activations in 8-bit floats, the formula in plain PyTorch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LARGEST = 448.0  # of float8_e4m3fn: four bits of exponent, three of mantissa, no infinity


def round_to_fp8(rows: Tensor) -> tuple[Tensor, Tensor]:
    """``(rows, K)`` to eight-bit floats and the scale of each row, float32 ``(rows, 1)``: its largest magnitude over
    448. A row of zeros has the scale 0 and zeros; one that holds no numbers gives none."""
    wide = rows.float()
    scale = wide.abs().amax(dim=-1, keepdim=True) / LARGEST
    whole = (wide / scale.clamp_min(torch.finfo(torch.float32).tiny)).clamp(-LARGEST, LARGEST)
    return whole.to(torch.float8_e4m3fn), scale


def fp8_linear(x: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ (weight * weight_scale).T + bias`` with every row of ``x`` rounded to eight-bit floats times its scale.

    Args:
        x: ``(..., K)`` in any float dtype.
        weight: ``(N, K)`` float8_e4m3fn.
        weight_scale: ``(N,)`` float32.
        bias: ``(N,)`` or None.

    Returns:
        ``(..., N)`` in the dtype of ``x``; a product of two such floats is exact in float32, and sums are float32.

    Source: FP8 Formats for Deep Learning, arXiv:2209.05433.
    """
    rounded, scale = round_to_fp8(x.reshape(-1, x.shape[-1]))
    y = F.linear(rounded.float(), weight.float()) * scale * weight_scale
    return (y if bias is None else y + bias).to(x.dtype).unflatten(0, x.shape[:-1])
