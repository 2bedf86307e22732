"""The same by Winograd's F(4,3), in the native library."""

from __future__ import annotations

import ctypes
import math
from ctypes import c_float, c_int32, c_int64, c_void_p

import torch
import torch.nn.functional as F
from torch import Tensor

from sanakit.kernels.conv3x3.reference import Epilogue
from sanakit.kernels.native.library import MULTIPLE, address, channels_last, native_library, num_threads, takes
from sanakit.kernels.native.memory import new_result
from sanakit.kernels.pixel_norm.native import ACTIVATIONS

MIN_PIXELS = 256
"""Of a picture in float32. The weights are transformed in every call, which costs as much as the plain sum of some 70
pixels."""

MORE_OF_HALVES = 4
"""Times as many in bfloat16, for whose plain sum some processors have instructions."""

_WORK = 4.5  # of a pixel with two channels, as multiply-adds of a product: half of what the plain sum takes


class _Arguments(ctypes.Structure):
    """``struct Conv3x3`` of ``native/source/sanakit.h``."""

    _fields_ = (
        *((name, c_void_p) for name in ("x", "weight", "bias", "norm_weight", "norm_bias", "residual", "y")),
        *((name, c_int64) for name in ("batch", "height", "width", "in_channels", "out_channels")),
        ("eps", c_float),
        *((name, c_int32) for name in ("activation", "upsample", "shortcut", "threads")),
    )


def fits(x: Tensor, weight: Tensor, bias: Tensor | None, after: Epilogue, *, upsample: bool) -> bool:
    """Whether the native twin is here and takes these: float32 or bfloat16 on the CPU, frozen, neither tiny nor of odd
    channels.

    It does not depend on the number of pictures, so that one comes out the same alone and in company. What does not
    even belong together is left to the reference, which says so.
    """
    per_channel = [each for each in (bias, *(after.norm[:2] if after.norm else ())) if each is not None]
    pictures = [x] if after.residual is None else [x, after.residual]
    if not takes(weight, *per_channel, *pictures, halves=True) or weight.requires_grad:
        return False
    if any(each.shape != weight.shape[:1] for each in per_channel):
        return False
    odd = len(weight) % MULTIPLE != 0  # as of pixels
    if odd and (upsample or after.norm is not None or after.residual is not None):
        return False
    return _shapes_fit(x, weight, after.residual, upsample)


def _shapes_fit(x: Tensor, weight: Tensor, residual: Tensor | None, upsample: bool) -> bool:
    if x.ndim != 4 or not len(x) or weight.shape[1:] != (x.shape[1], 3, 3):
        return False
    if x.shape[1] % MULTIPLE:
        return False
    batch, channels, height, width = x.shape
    if height * width * (4 if upsample else 1) < MIN_PIXELS * (MORE_OF_HALVES if x.dtype == torch.bfloat16 else 1):
        return False
    if upsample and residual is not None:  # of which the kernel knows those that halve channels or leave them
        return residual.shape == x.shape and channels in (len(weight), 2 * len(weight), 4 * len(weight))
    return residual is None or residual.shape == (batch, len(weight), height, width)


def conv3x3(x: Tensor, weight: Tensor, bias: Tensor | None, after: Epilogue, *, upsample: bool) -> Tensor:
    """As the reference, of what fits; channels of the result lie last in memory, and inputs whose do not are copied."""
    library = native_library()
    assert library is not None
    if odd := -len(weight) % MULTIPLE:  # zeros of other channels cost less than another layout
        padded = F.pad(weight, (0, 0) * 3 + (0, odd)), None if bias is None else F.pad(bias, (0, odd))
        return conv3x3(x, *padded, after, upsample=upsample)[:, : len(weight)]
    x, scale = channels_last(x), 2 if upsample else 1
    sizes = (len(x), scale * x.shape[1], scale * x.shape[2], x.shape[3], len(weight))
    residual = None if after.residual is None else channels_last(after.residual)
    y = residual if after.in_place and not upsample and not _share(residual, x) else None
    y = new_result(*sizes[:3], sizes[4], dtype=x.dtype) if y is None else y
    norm = (None, None) if after.norm is None else after.norm[:2]
    parts = [None if each is None else each.contiguous() for each in (x, weight, bias, *norm, residual, y)]
    flags = (
        ACTIVATIONS.index(after.activation),
        upsample,
        upsample and residual is not None,
        num_threads(_WORK * math.prod(sizes)),
    )
    eps = after.norm.eps if after.norm else 0.0
    library.call("conv3x3", _Arguments(*map(address, parts), *sizes, eps, *flags), x.dtype)
    return y.permute(0, 3, 1, 2)


def _share(a: Tensor | None, b: Tensor) -> bool:
    """Whether one may hold memory of the other, whose surroundings the kernel still reads."""
    return a is not None and a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()
