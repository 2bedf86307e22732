"""Products of int8 weights with activations that are rounded to int8 row by row."""

from __future__ import annotations

from torch import Tensor

from sanakit.kernels import on_gpu
from sanakit.kernels.int8_linear import native, reference
from sanakit.kernels.int8_linear.products import products_on

__all__ = ["int8_linear", "products_on"]


def int8_linear(x: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ (weight * weight_scale).T + bias`` with every row of ``x`` rounded; arguments are those of the reference.

    The Triton twin takes it on a GPU where no gradients are wanted, the native one many tokens on the CPU.
    """
    if on_gpu.takes(x, *([] if bias is None else [bias])):
        from sanakit.kernels.int8_linear import triton

        return triton.int8_linear(x, weight, weight_scale, bias)
    twin = native if native.fits(x, weight, weight_scale, bias) else reference
    return twin.int8_linear(x, weight, weight_scale, bias)
