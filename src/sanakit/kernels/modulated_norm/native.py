"""The same in the native library, one pass over a token, with backward passes."""

from __future__ import annotations

import ctypes
from ctypes import c_float, c_int32, c_int64, c_void_p
from functools import partial

import torch
from torch import Tensor

from sanakit.kernels.modulated_norm import reference
from sanakit.kernels.native.gradients import Twin, apply
from sanakit.kernels.native.library import MULTIPLE, address, native_library, num_threads, takes

_SHARE = 256  # tokens that the backward pass of an RMS norm sums at a time
_WORK = 18  # of a value, as multiply-adds of a product


class _RmsNorm(ctypes.Structure):
    """``struct RmsNorm`` of ``native/source/sanakit.h``."""

    _fields_ = (
        *((name, c_void_p) for name in ("x", "weight", "y", "dy", "dx", "dweight")),
        *((name, c_int64) for name in ("tokens", "channels", "row")),
        ("eps", c_float),
        ("threads", c_int32),
    )


class _ModulatedNorm(ctypes.Structure):
    """``struct ModulatedNorm`` of the same."""

    _fields_ = (
        *((name, c_void_p) for name in ("x", "shift", "scale", "y", "dy", "dx", "dshift", "dscale")),
        *((name, c_int64) for name in ("batch", "tokens", "channels", "shift_row", "scale_row")),
        ("eps", c_float),
        ("threads", c_int32),
    )


def fits(x: Tensor, *rows: Tensor) -> bool:
    """Whether the native twin is here and takes these: float32 on the CPU, or bfloat16 without gradients, whole vectors
    a token, a weight or a row for each picture."""
    if (
        not takes(x, *rows, gradients=True, halves=True)
        or not x.numel()
        or any(each.stride(-1) != 1 for each in (x, *rows))
    ):
        return False
    shape = x.shape[-1:] if len(rows) == 1 else (len(x), 1, x.shape[-1])
    return x.shape[-1] % MULTIPLE == 0 and all(each.shape == shape for each in rows)


def rms_norm(x: Tensor, weight: Tensor, *, eps: float) -> Tensor:
    """As the reference, of what fits; the tokens may be views of longer ones."""
    tokens = x.reshape(-1, x.shape[-1])
    plain = partial(reference.rms_norm, eps=eps)
    return apply(Twin(partial(_rms, eps), partial(_rms_backward, eps), plain), tokens, weight).view(x.shape)


def modulated_norm(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """As the reference, of what fits; ``(B, N, C)`` with ``(B, 1, C)``, which may be views."""
    return apply(Twin(_modulated, _modulated_backward, reference.modulated_norm), x.contiguous(), shift, scale)


def _rms(eps: float, x: Tensor, weight: Tensor) -> Tensor:
    y = x.new_empty(x.shape)
    _call_rms("rms_norm", eps, (x, weight), (address(y), None, None, None))
    return y


def _rms_backward(eps: float, gradient: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
    dx, shares = x.new_empty(x.shape), x.new_empty(-(-len(x) // _SHARE), len(weight))
    _call_rms("rms_norm_backward", eps, (x, weight), (None, *map(address, (gradient, dx, shares))))
    return dx, shares.sum(dim=0)


def _call_rms(kernel: str, eps: float, parts: tuple[Tensor, Tensor], others: tuple[int | None, ...]) -> None:
    x, weight = parts
    assert x.stride(1) == 1
    library = native_library()
    assert library is not None
    sizes = (*x.shape, x.stride(0))
    arguments = _RmsNorm(x.data_ptr(), address(weight), *others, *sizes, eps, num_threads(_WORK * x.numel()))
    library.call(kernel, arguments, x.dtype)


def _modulated(*parts: Tensor) -> Tensor:
    y = parts[0].new_empty(parts[0].shape)
    _call_modulated("modulated_norm", parts, (address(y), None, None, None, None))
    return y


def _modulated_backward(gradient: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
    found = tuple(torch.empty_like(each, memory_format=torch.contiguous_format) for each in parts)
    _call_modulated("modulated_norm_backward", parts, (None, *map(address, (gradient, *found))))
    return found


def _call_modulated(kernel: str, parts: tuple[Tensor, ...], others: tuple[int | None, ...]) -> None:
    x, shift, scale = parts
    library = native_library()
    assert library is not None
    sizes = (*x.shape, shift.stride(0), scale.stride(0))
    places = (part.data_ptr() for part in parts)
    arguments = _ModulatedNorm(*places, *others, *sizes, reference.EPS, num_threads(_WORK * x.numel()))
    library.call(kernel, arguments, x.dtype)
