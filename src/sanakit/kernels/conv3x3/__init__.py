"""The 3x3 convolution of the autoencoders, with what follows it."""

from __future__ import annotations

from torch import Tensor

from sanakit.kernels.conv3x3 import native, reference
from sanakit.kernels.conv3x3.reference import Activation, PixelNorm

__all__ = ["Activation", "PixelNorm", "conv3x3"]


def conv3x3(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    activation: Activation = "none",
    norm: PixelNorm | None = None,
    residual: Tensor | None = None,
    upsample: bool = False,
) -> Tensor:
    """``norm(activation(conv(x) + bias)) + residual``; arguments are those of the reference.

    Frozen weights in float32 on the CPU go to the native twin where that is here, everything else to the reference.
    """
    after = {"activation": activation, "norm": norm, "residual": residual, "upsample": upsample}
    if native.fits(x, weight, bias, norm=norm, residual=residual, upsample=upsample):
        return native.conv3x3(x, weight, bias, **after)
    return reference.conv3x3(x, weight, bias, **after)
