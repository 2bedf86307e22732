"""The same in the native library, a head of a picture at a time, with its backward pass."""

from __future__ import annotations

import ctypes
from ctypes import c_float, c_int32, c_int64, c_void_p
from functools import partial

import torch
from torch import Tensor

from sanakit.kernels.linear_attention import reference
from sanakit.kernels.native.gradients import Twin, apply
from sanakit.kernels.native.library import MULTIPLE, Tokens, address, native_library, num_threads, takes
from sanakit.kernels.native.memory import new_result

_WORK = 5  # of a value with every channel of its head, as multiply-adds of a product


class _Arguments(ctypes.Structure):
    """``struct LinearAttention`` of ``native/source/sanakit.h``."""

    _fields_ = (
        *((name, Tokens) for name in ("q", "k", "v")),
        *((name, c_void_p) for name in ("y", "dy", "dq", "dk", "dv")),
        *((name, c_int64) for name in ("batch", "heads", "tokens", "size")),
        ("eps", c_float),
        ("threads", c_int32),
    )


def fits(q: Tensor, k: Tensor, v: Tensor) -> bool:
    """Whether the native twin is here and takes these: float32 on the CPU, or bfloat16 without gradients, as many keys
    as queries, the channels of a head together in memory."""
    if not takes(q, k, v, gradients=True, halves=True) or q.ndim != 4:
        return False
    together = all(x.stride(3) == 1 for x in (q, k, v))
    return together and q.shape == k.shape == v.shape and q.numel() > 0 and q.shape[-1] % MULTIPLE == 0


def linear_attention(q: Tensor, k: Tensor, v: Tensor, *, eps: float) -> Tensor:
    """As the reference, of what fits; ``(B, heads, N, D)``, of which the heads of a token lie together in memory."""
    twin = Twin(partial(_forward, eps), partial(_backward, eps), partial(_plain, eps))
    return apply(twin, *(x.transpose(1, 2) for x in (q, k, v))).transpose(1, 2)


def _plain(eps: float, *tokens: Tensor) -> Tensor:
    q, k, v = (x.transpose(1, 2) for x in tokens)
    return reference.linear_attention(q, k, v, eps=eps).transpose(1, 2)


def _forward(eps: float, *tokens: Tensor) -> Tensor:
    """``(B, N, heads, D)``, as all that follows."""
    y = new_result(*tokens[0].shape, dtype=tokens[0].dtype)
    _call("linear_attention", eps, tokens, (y, None, None, None, None))
    return y


def _backward(eps: float, gradient: Tensor, *tokens: Tensor) -> tuple[Tensor, ...]:
    found = tuple(torch.empty_like(x, memory_format=torch.contiguous_format) for x in tokens)
    _call("linear_attention_backward", eps, tokens, (None, gradient, *found))
    return found


def _call(kernel: str, eps: float, tokens: tuple[Tensor, ...], others: tuple[Tensor | None, ...]) -> None:
    library = native_library()
    assert library is not None
    batch, num_tokens, heads, size = tokens[0].shape

    sizes = (batch, heads, num_tokens, size)
    given, threads = [Tokens.of(x) for x in tokens], num_threads(_WORK * tokens[0].numel() * size)
    library.call(kernel, _Arguments(*given, *map(address, others), *sizes, eps, threads), tokens[0].dtype)
