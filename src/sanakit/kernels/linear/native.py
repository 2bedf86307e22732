"""The same in the native library, for frozen weights and many tokens."""

from __future__ import annotations

import ctypes
import math
from ctypes import c_int32, c_int64, c_void_p

import torch
from torch import Tensor

from sanakit.kernels.native.library import MULTIPLE, address, native_library, num_threads, takes
from sanakit.kernels.native.memory import new_result

MIN_TOKENS = 64
"""Of a picture. The weights are laid out anew in every call, which costs as much as a product with some ten rows."""


class _Arguments(ctypes.Structure):
    """``struct Linear`` of ``native/source/sanakit.h``."""

    _fields_ = (
        *((name, c_void_p) for name in ("x", "weight", "bias", "y")),
        *((name, c_int64) for name in ("rows", "in_channels", "out_channels")),
        ("threads", c_int32),
    )


def fits(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether the native twin is here and takes these, in bfloat16 where the processor multiplies that; this, like its
    bits, depends on no other picture of a batch."""
    if not takes(x, weight, *(() if bias is None else (bias,)), halves=True) or weight.requires_grad:
        return False
    if weight.ndim != 2 or x.ndim < 2 or not x.numel() or x.shape[-1:] != weight.shape[1:]:
        return False
    if x.dtype == torch.bfloat16 and (weight.shape[1] % 2 or not _multiplies_halves()):
        return False
    shaped = bias is None or bias.shape == weight.shape[:1]
    return shaped and len(weight) > 0 and len(weight) % MULTIPLE == 0 and math.prod(x.shape[1:-1]) >= MIN_TOKENS


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """As torch, of what fits."""
    library = native_library()
    assert library is not None
    y = new_result(*x.shape[:-1], len(weight), dtype=x.dtype)
    parts = [None if each is None else _on_words(each.contiguous()) for each in (x, weight, bias)]
    sizes = (x.numel() // x.shape[-1], x.shape[-1], len(weight))
    work = math.prod(sizes) / (2 if x.dtype == torch.bfloat16 else 1)
    library.call("linear", _Arguments(*map(address, (*parts, y)), *sizes, num_threads(work)), x.dtype)
    return y


def _on_words(x: Tensor) -> Tensor:
    """Copied where it begins between two words: a pair of bfloat16 is read as a float, and those do not lie there."""
    return x if x.data_ptr() % 4 == 0 else x.clone()


def _multiplies_halves() -> bool:
    library = native_library()
    return library is not None and library.multiplies_halves
