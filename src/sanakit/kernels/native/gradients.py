"""A native kernel that autograd knows: its own backward pass, and the reference's to differentiate that again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Twin:
    """One function of the same tensors, three times.

    Attributes:
        forward: the kernel.
        backward: from the gradient of what it gives, contiguous, and from its tensors to their gradients.
        reference: in plain PyTorch.
    """

    forward: Callable[..., Tensor]
    backward: Callable[..., tuple[Tensor | None, ...]]
    reference: Callable[..., Tensor]


def apply(twin: Twin, *tensors: Tensor) -> Tensor:
    """The kernel; nothing but its tensors is kept for the way back."""
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        found: Tensor = _Apply.apply(twin, *tensors)  # type: ignore[no-untyped-call]
        return found
    return twin.forward(*tensors)


class _Apply(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, twin: Twin, *tensors: Tensor) -> Tensor:
        ctx.twin = twin
        ctx.save_for_backward(*tensors)
        return twin.forward(*tensors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors
        if not torch.is_grad_enabled():
            return None, *ctx.twin.backward(gradient.contiguous(), *tensors)
        wanted = [tensor for tensor, needed in zip(tensors, ctx.needs_input_grad[1:], strict=True) if needed]
        found = iter(torch.autograd.grad(ctx.twin.reference(*tensors), wanted, gradient, create_graph=True))
        return None, *(next(found) if needed else None for needed in ctx.needs_input_grad[1:])
