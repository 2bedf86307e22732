"""A linear layer of int8 weights and int8 activations, the formula in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from sanakit.kernels.int8_linear.products import Products, products_on, whole_number_products

LARGEST = 127


def int8_linear(
    x: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor | None = None, *, products: Products | None = None
) -> Tensor:
    """``x @ (weight * weight_scale).T + bias`` with every row of ``x`` rounded to whole numbers from -127 to 127.

    A row's scale is its largest magnitude over 127, so a row's result does not depend on the rows beside it; a row of
    zeros gives the bias, and one that holds no numbers gives none.

    Args:
        x: ``(..., K)`` in any float dtype.
        weight: ``(N, K)`` int8.
        weight_scale: ``(N,)`` float32.
        bias: ``(N,)`` or None.
        products: None for those of the device.

    Returns:
        ``(..., N)`` in the dtype of ``x``.

    Source: SANA, arXiv:2410.10629, section 4 (8 bits per token and per channel).
    """
    rows = x.reshape(-1, x.shape[-1]).float()  # (rows, K)
    scale = rows.abs().amax(dim=-1, keepdim=True) / LARGEST  # (rows, 1)
    whole = (rows / scale.clamp_min(torch.finfo(torch.float32).tiny)).round()
    y = whole_number_products(whole, weight, products or products_on(x.device.type))  # (rows, N)
    y = y * scale * weight_scale
    y = y if bias is None else y + bias
    return y.to(x.dtype).unflatten(0, x.shape[:-1]) if x.ndim != 2 else y.to(x.dtype)
