"""The gated depth-wise convolution inside a Mix-FFN."""

from __future__ import annotations

from torch import Tensor

from sanakit.kernels.mix_ffn import native, reference

__all__ = ["gated_depthwise"]


def gated_depthwise(tokens: Tensor, weight: Tensor, bias: Tensor, *, height: int, width: int) -> Tensor:
    """``value * SiLU(gate)`` of a depth-wise 3x3 over ``SiLU(tokens)``; arguments are those of the reference.

    Frozen weights in float32 on the CPU go to the native twin where that is here, everything else to the reference.
    """
    twin = native if native.fits(tokens, weight, bias, height=height, width=width) else reference
    return twin.gated_depthwise(tokens, weight, bias, height=height, width=width)
