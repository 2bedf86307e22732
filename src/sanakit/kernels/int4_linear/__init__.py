"""Products of activations with weights of four bits that share a scale group by group."""

from __future__ import annotations

from torch import Tensor

from sanakit.kernels import on_gpu
from sanakit.kernels.int4_linear import reference
from sanakit.kernels.int4_linear.reference import INT4, NF4, four_bit_weight, levels_on, pack_nibbles

__all__ = ["INT4", "NF4", "four_bit_linear", "four_bit_weight", "levels_on", "pack_nibbles"]


def four_bit_linear(x: Tensor, packed: Tensor, scale: Tensor, levels: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ weight.T + bias`` with the weight of ``four_bit_weight``; arguments are those of the reference.

    The Triton twin takes it on a GPU where no gradients are wanted.
    """
    if on_gpu.takes(x, *([] if bias is None else [bias])):
        from sanakit.kernels.int4_linear import triton

        return triton.four_bit_linear(x, packed, scale, levels, bias)
    return reference.four_bit_linear(x, packed, scale, levels, bias)
