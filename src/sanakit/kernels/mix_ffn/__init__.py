"""The gated depth-wise convolution inside a Mix-FFN."""

from __future__ import annotations

from torch import Tensor

from sanakit.kernels import on_gpu
from sanakit.kernels.mix_ffn import native, reference

__all__ = ["gated_depthwise"]


def gated_depthwise(tokens: Tensor, weight: Tensor, bias: Tensor, *, height: int, width: int) -> Tensor:
    """``value * SiLU(gate)`` of a depth-wise 3x3 over ``SiLU(tokens)``; arguments are those of the reference.

    Frozen weights in float32 on the CPU go to the native twin where that is here, those on a GPU to the Triton twin,
    everything else to the reference.
    """
    if on_gpu.takes(tokens, weight, bias) and tokens.shape[1] == height * width:
        from sanakit.kernels.mix_ffn import triton

        return triton.gated_depthwise(tokens, weight, bias, height=height, width=width)
    twin = native if native.fits(tokens, weight, bias, height=height, width=width) else reference
    return twin.gated_depthwise(tokens, weight, bias, height=height, width=width)
