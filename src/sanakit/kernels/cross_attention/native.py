"""The same in the native library, a head of a picture at a time, with its backward pass."""

from __future__ import annotations

import ctypes
from ctypes import c_int32, c_int64, c_void_p
from functools import partial

import torch
from torch import Tensor

from sanakit.kernels.cross_attention import reference
from sanakit.kernels.native.gradients import Twin, apply
from sanakit.kernels.native.library import MULTIPLE, Tokens, address, native_library, num_threads, side_by_side, takes

_WORK = 5  # of a value with every token of the text, as multiply-adds of a product


class _Arguments(ctypes.Structure):
    """``struct TextAttention`` of ``native/source/sanakit.h``."""

    _fields_ = (
        *((name, Tokens) for name in ("q", "k", "v")),
        *((name, c_void_p) for name in ("seen", "y", "dy", "dq", "dk", "dv")),
        *((name, c_int64) for name in ("batch", "heads", "tokens", "length", "size")),
        ("threads", c_int32),
    )


def fits(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> bool:
    """Whether the native twin is here and takes these: float32 on the CPU, a text for every picture."""
    if not takes(queries, keys, values, gradients=True) or queries.ndim != 3 or keys.shape != values.shape:
        return False
    batch, heads, length, size = keys.shape
    shaped = mask.shape == (batch, 1, 1, length) and queries.shape[::2] == (batch, heads * size)
    return shaped and mask.dtype == torch.bool and queries.numel() > 0 and length > 0 and size % MULTIPLE == 0


def attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """As the reference, of what fits; what sees nothing is 0."""
    seen = mask[:, 0, 0].contiguous()
    twin = Twin(partial(_forward, seen), partial(_backward, seen), partial(_plain, mask))
    heads = queries.unflatten(-1, (-1, keys.shape[-1]))
    return apply(twin, *map(side_by_side, (heads, keys.transpose(1, 2), values.transpose(1, 2)))).flatten(2)


def _plain(mask: Tensor, heads: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    found = reference.attend(heads.flatten(2), keys.transpose(1, 2), values.transpose(1, 2), mask)
    return found.unflatten(-1, heads.shape[2:])


def _forward(seen: Tensor, *parts: Tensor) -> Tensor:
    """Queries ``(B, N, heads, D)``, keys and values ``(B, L, heads, D)``, as all that follows."""
    y = parts[0].new_empty(parts[0].shape)
    _call("text_attention", seen, parts, (y, None, None, None, None))
    return y


def _backward(seen: Tensor, gradient: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
    found = tuple(torch.empty_like(x, memory_format=torch.contiguous_format) for x in parts)
    _call("text_attention_backward", seen, parts, (None, gradient, *found))
    return found


def _call(kernel: str, seen: Tensor, parts: tuple[Tensor, ...], others: tuple[Tensor | None, ...]) -> None:
    library = native_library()
    assert library is not None
    (batch, num_tokens, heads, size), length = parts[0].shape, parts[1].shape[1]
    sizes = (batch, heads, num_tokens, length, size)
    given = (*map(Tokens.of, parts), seen.data_ptr(), *map(address, others))
    library.call(kernel, _Arguments(*given, *sizes, num_threads(_WORK * parts[0].numel() * length)))
