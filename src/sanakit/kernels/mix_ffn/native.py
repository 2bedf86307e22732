"""The same in one pass, in the native library."""

from __future__ import annotations

import ctypes
from ctypes import c_int32, c_int64, c_void_p

from torch import Tensor

from sanakit.kernels.native.library import MULTIPLE, address, native_library, num_threads, takes


class _Arguments(ctypes.Structure):
    """``struct GatedDepthwise`` of ``native/source/sanakit.h``."""

    _fields_ = (
        *((name, c_void_p) for name in ("x", "weight", "bias", "y")),
        *((name, c_int64) for name in ("batch", "height", "width", "channels")),
        ("threads", c_int32),
    )


def fits(tokens: Tensor, weight: Tensor, bias: Tensor, *, height: int, width: int) -> bool:
    """Whether the native twin is here and takes these: float32 on the CPU, frozen, of usual sizes."""
    if not takes(tokens, weight, bias) or weight.requires_grad or not tokens.numel() or tokens.ndim != 3:
        return False
    channels = tokens.shape[2]
    shaped = weight.shape == (channels, 1, 3, 3) and bias.shape == (channels,) and channels % (2 * MULTIPLE) == 0
    return shaped and tokens.shape[1] == height * width


def gated_depthwise(tokens: Tensor, weight: Tensor, bias: Tensor, *, height: int, width: int) -> Tensor:
    """As the reference, of what fits."""
    library = native_library()
    assert library is not None
    batch, num_tokens, channels = tokens.shape
    y = tokens.new_empty(batch, num_tokens, channels // 2)
    parts = [each.contiguous() for each in (tokens, weight, bias)]
    sizes = (batch, height, width, channels // 2)
    library.call("gated_depthwise", _Arguments(*map(address, (*parts, y)), *sizes, num_threads()))
    return y
