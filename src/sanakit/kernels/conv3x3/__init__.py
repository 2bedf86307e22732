"""The 3x3 convolution of the autoencoders, with what follows it."""

from __future__ import annotations

from torch import Tensor

from sanakit.kernels.conv3x3 import native, reference
from sanakit.kernels.conv3x3.reference import NOTHING, Epilogue, PixelNorm

__all__ = ["Epilogue", "PixelNorm", "conv3x3"]


def conv3x3(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, after: Epilogue = NOTHING, *, upsample: bool = False
) -> Tensor:
    """A convolution and what follows it; arguments are those of the reference.

    Frozen weights in float32 or bfloat16 on the CPU go to the native twin where that is here, everything else to the
    reference.
    """
    twin = native if native.fits(x, weight, bias, after, upsample=upsample) else reference
    return twin.conv3x3(x, weight, bias, after, upsample=upsample)
