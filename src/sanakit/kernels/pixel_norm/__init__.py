"""RMS norm over the channels of every pixel."""

from __future__ import annotations

from torch import Tensor

from sanakit.kernels.pixel_norm import native, reference
from sanakit.kernels.pixel_norm.reference import Activation, activated, rms_normalised

__all__ = ["Activation", "activated", "pixel_rms_norm", "rms_normalised"]


def pixel_rms_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float, activation: Activation = "none") -> Tensor:
    """The activation of the norm; arguments are those of the reference.

    Frozen weights in float32 or bfloat16 on the CPU go to the native twin where that is here, everything else to the
    reference.
    """
    twin = native if native.fits(x, weight, bias) else reference
    return twin.pixel_rms_norm(x, weight, bias, eps, activation)
