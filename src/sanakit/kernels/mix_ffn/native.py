"""The same in one pass, in the native library."""

from __future__ import annotations

import ctypes
from ctypes import c_int32, c_int64, c_void_p
from functools import partial

import torch
from torch import Tensor

from sanakit.kernels.mix_ffn import reference
from sanakit.kernels.native.gradients import Twin, apply
from sanakit.kernels.native.library import MULTIPLE, address, native_library, num_threads, takes
from sanakit.kernels.native.memory import new_result

_WORK = 56  # of a value and of its convolution, as multiply-adds of a product


class _Arguments(ctypes.Structure):
    """``struct GatedDepthwise`` of ``native/source/sanakit.h``."""

    _fields_ = (
        *((name, c_void_p) for name in ("x", "weight", "bias", "y")),
        *((name, c_int64) for name in ("batch", "height", "width", "channels")),
        ("threads", c_int32),
    )


class _BackwardArguments(ctypes.Structure):
    """``struct GatedDepthwiseBackward`` of ``native/source/sanakit.h``."""

    _fields_ = (
        *((name, c_void_p) for name in ("x", "weight", "bias", "dy", "dx", "dweight", "dbias")),
        *_Arguments._fields_[4:],
    )


def fits(tokens: Tensor, weight: Tensor, bias: Tensor, *, height: int, width: int) -> bool:
    """Whether the native twin is here and takes these: float32 on the CPU, or bfloat16 without gradients, of usual
    sizes."""
    if not takes(tokens, weight, bias, gradients=True, halves=True) or not tokens.numel() or tokens.ndim != 3:
        return False
    channels = tokens.shape[2]
    shaped = weight.shape == (channels, 1, 3, 3) and bias.shape == (channels,) and channels % (2 * MULTIPLE) == 0
    return shaped and tokens.shape[1] == height * width


def gated_depthwise(tokens: Tensor, weight: Tensor, bias: Tensor, *, height: int, width: int) -> Tensor:
    """As the reference, of what fits."""
    size = (len(tokens), height, width, tokens.shape[2] // 2)
    plain = partial(reference.gated_depthwise, height=height, width=width)
    twin = Twin(partial(_forward, size), partial(_backward, size), plain)
    return apply(twin, *(each.contiguous() for each in (tokens, weight, bias)))


def _forward(size: tuple[int, ...], *parts: Tensor) -> Tensor:
    library = native_library()
    assert library is not None
    x = parts[0]
    y = new_result(*x.shape[:2], size[3], dtype=x.dtype)
    arguments = _Arguments(*map(address, (*parts, y)), *size, num_threads(_WORK * x.numel()))
    library.call("gated_depthwise", arguments, x.dtype)
    return y


def _backward(size: tuple[int, ...], gradient: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
    library = native_library()
    assert library is not None
    found = tuple(map(torch.empty_like, parts))
    arguments = _BackwardArguments(
        *map(address, (*parts, gradient, *found)), *size, num_threads(2 * _WORK * parts[0].numel())
    )
    library.call("gated_depthwise_backward", arguments)
    return found
