"""Products of weights in 8-bit floats with activations that are rounded to such row by row."""

from __future__ import annotations

from torch import Tensor

from sanakit.kernels.fp8_linear import reference, scaled_mm

__all__ = ["fp8_linear"]


def fp8_linear(x: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ (weight * weight_scale).T + bias`` with every row of ``x`` rounded; arguments are those of the reference.

    GPUs with products of 8-bit floats multiply them, everything else emulates their rounding.
    """
    twin = scaled_mm if scaled_mm.fits(x, weight, bias) else reference
    return twin.fp8_linear(x, weight, weight_scale, bias)
