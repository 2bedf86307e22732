"""The same in the native library, which rounds rows as it lays them out, and scales what leaves the registers."""

from __future__ import annotations

import ctypes
import math
from ctypes import c_int32, c_int64, c_void_p

import torch
from torch import Tensor

from sanakit.kernels.linear.native import MIN_TOKENS
from sanakit.kernels.native.library import MULTIPLE, address, native_library, num_threads, takes
from sanakit.kernels.native.memory import new_result

MOST_CHANNELS = 2**16
"""Whose products, of at most 127 by 255, can be added up in 32 bits."""

_PER_FLOAT = 3  # products in the time of one in float32


class _Arguments(ctypes.Structure):
    """``struct Int8Linear`` of ``native/source/sanakit.h``."""

    _fields_ = (
        *((name, c_void_p) for name in ("x", "weight", "weight_scale", "bias", "y")),
        *((name, c_int64) for name in ("rows", "in_channels", "out_channels")),
        ("threads", c_int32),
    )


def fits(x: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor | None) -> bool:
    """Whether the native twin is here and takes these: activations in float32 or bfloat16 on the CPU, as many tokens a
    picture as for the linear layer of floats."""
    if not takes(x, *(() if bias is None else (bias,)), halves=True) or not multiplies_bytes():
        return False
    if weight.device != x.device or weight_scale.device != x.device or weight_scale.dtype != torch.float32:
        return False
    if weight.ndim != 2 or x.ndim < 2 or not x.numel() or x.shape[-1:] != weight.shape[1:] or not len(weight):
        return False
    shaped = weight_scale.shape == weight.shape[:1] and (bias is None or bias.shape == weight.shape[:1])
    whole = not any(size % MULTIPLE for size in weight.shape) and weight.shape[1] <= MOST_CHANNELS
    return shaped and whole and math.prod(x.shape[1:-1]) >= MIN_TOKENS


def int8_linear(x: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor | None) -> Tensor:
    """As the reference, of what fits."""
    library = native_library()
    assert library is not None
    y = new_result(*x.shape[:-1], len(weight), dtype=x.dtype)
    x, weight, weight_scale = x.contiguous(), weight.contiguous(), weight_scale.contiguous()
    bias = None if bias is None else bias.contiguous()
    sizes = (x.numel() // x.shape[-1], x.shape[-1], len(weight))
    addresses = (address(x), weight.data_ptr(), address(weight_scale), address(bias), address(y))
    library.call("int8_linear", _Arguments(*addresses, *sizes, num_threads(math.prod(sizes) / _PER_FLOAT)), x.dtype)
    return y


def multiplies_bytes() -> bool:
    """Whether there is a library that does."""
    library = native_library()
    return library is not None and library.multiplies_bytes
