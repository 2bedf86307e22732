"""The same in the native library: two passes over a pixel's channels while they are in the cache."""

from __future__ import annotations

import ctypes
from ctypes import c_float, c_int32, c_int64, c_void_p

from torch import Tensor

from sanakit.kernels.native.library import MULTIPLE, address, channels_last, native_library, num_threads, takes
from sanakit.kernels.native.memory import new_result
from sanakit.kernels.pixel_norm.reference import Activation

ACTIVATIONS: tuple[Activation, ...] = ("none", "silu", "relu")
"""As ``enum Activation`` of ``native/source/sanakit.h`` counts them."""


_WORK = 19  # of a value, as multiply-adds of a product


class _Arguments(ctypes.Structure):
    """``struct PixelNorm`` of ``native/source/sanakit.h``."""

    _fields_ = (
        *((name, c_void_p) for name in ("x", "weight", "bias", "y")),
        *((name, c_int64) for name in ("pixels", "channels")),
        ("eps", c_float),
        *((name, c_int32) for name in ("activation", "threads")),
    )


def fits(x: Tensor, weight: Tensor, bias: Tensor) -> bool:
    """Whether the native twin is here and takes these: frozen, float32 or bfloat16, on the CPU."""
    if not takes(x, weight, bias, halves=True) or weight.requires_grad or x.ndim != 4 or not len(x):
        return False
    return weight.shape == bias.shape == x.shape[1:2] and len(weight) % MULTIPLE == 0


def pixel_rms_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float, activation: Activation = "none") -> Tensor:
    """As the reference, of what fits; channels of the result lie last in memory."""
    library = native_library()
    assert library is not None
    x = channels_last(x)
    y, pixels = new_result(*x.shape, dtype=x.dtype), x.shape[:3].numel()
    parts = [each.contiguous() for each in (x, weight, bias, y)]
    flags = (ACTIVATIONS.index(activation), num_threads(_WORK * x.numel()))
    library.call("pixel_norm", _Arguments(*map(address, parts), pixels, x.shape[3], eps, *flags), x.dtype)
    return y.permute(0, 3, 1, 2)
