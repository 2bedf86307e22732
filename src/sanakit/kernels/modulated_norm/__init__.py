"""Norms of tokens, with the scale, shift and gate that a block has for each row."""

from __future__ import annotations

import torch
from torch import Tensor

from sanakit.kernels import on_gpu
from sanakit.kernels.modulated_norm import native, reference

__all__ = ["gated_sum", "modulated_norm", "rms_norm"]


def modulated_norm(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Layer norm without weights, then ``* (1 + scale) + shift``; arguments are those of the reference.

    The native twin takes it on the CPU in float32, and in bfloat16 without gradients, the Triton twin on a GPU where no
    gradients are wanted, unless torch's compiler fuses it with more.
    """
    if _is_ours(x, shift, scale):
        from sanakit.kernels.modulated_norm import triton

        return triton.modulated_norm(x, shift, scale)
    twin = native if x.ndim == 3 and native.fits(x, shift, scale) else reference
    return twin.modulated_norm(x, shift, scale)


def rms_norm(x: Tensor, weight: Tensor, *, eps: float) -> Tensor:
    """``x / rms(x) * weight`` over the last axis; arguments are those of the reference, twins as above."""
    if _is_ours(x, weight):
        from sanakit.kernels.modulated_norm import triton

        return triton.rms_norm(x, weight, eps=eps)
    twin = native if native.fits(x, weight) else reference
    return twin.rms_norm(x, weight, eps=eps)


def gated_sum(x: Tensor, gate: Tensor, y: Tensor) -> Tensor:
    """``x + gate * y``; arguments are those of the reference. On a GPU torch has it in one pass, rounded once."""
    return torch.addcmul(x, gate, y) if _is_ours(x, gate, y) else reference.gated_sum(x, gate, y)


def _is_ours(*tensors: Tensor) -> bool:
    dense = all(each.stride(-1) == 1 for each in tensors)
    return dense and not torch.compiler.is_compiling() and on_gpu.takes(*tensors)
