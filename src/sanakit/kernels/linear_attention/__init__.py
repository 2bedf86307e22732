"""ReLU linear attention."""

from __future__ import annotations

from torch import Tensor

from sanakit.kernels import on_gpu
from sanakit.kernels.linear_attention import by_rows, native, reference
from sanakit.kernels.linear_attention.reference import key_sums, read_sums, turned_linear_attention

__all__ = ["key_sums", "linear_attention", "read_sums", "turned_linear_attention"]

MAX_HEAD_ON_GPU = 64  # channels; the state of a larger head is no tile of registers


def linear_attention(q: Tensor, k: Tensor, v: Tensor, *, eps: float = 1e-15) -> Tensor:
    """ReLU attention whose cost grows linearly with the number of tokens; arguments are those of the reference.

    On the CPU the native twin computes it where that is here and the channels of a head lie together, in bfloat16
    without gradients; else, without gradients, it goes row by row, in fewer copies and to the bits of the reference.
    Without gradients on a GPU the Triton twin takes it.
    """
    dense = q.stride(-1) == k.stride(-1) == v.stride(-1) == 1
    if on_gpu.takes(v, q, k) and k.shape == v.shape and dense and v.shape[-1] <= MAX_HEAD_ON_GPU:
        from sanakit.kernels.linear_attention import triton

        return triton.linear_attention(q, k, v, eps=eps)
    if native.fits(q, k, v):
        return native.linear_attention(q, k, v, eps=eps)
    twin = by_rows if by_rows.fits(q, k, v) else reference
    return twin.linear_attention(q, k, v, eps=eps)
