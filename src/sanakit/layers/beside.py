"""What adds to a layer's output beside its own product, for some rows of a call: the seam that adapters hang in.

A layer carries it as a forward hook; who calls a network says what each row takes, for the time of the call.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

_ROWS: ContextVar[tuple[Hashable, ...]] = ContextVar("rows", default=())


@runtime_checkable
class Beside(Protocol):
    """Such a hook."""

    def change_of(self, layer: nn.Module) -> Tensor | None:
        """What the one row that is told adds to the layer's weight, ``(out, in)``; None for nothing."""


@contextmanager
def told_by_row(rows: Sequence[Hashable]) -> Iterator[None]:
    """Within, what each row of a call takes; one alone is for all of its rows, and ``()`` says nothing."""
    token = _ROWS.set(tuple(rows))
    try:
        yield
    finally:
        _ROWS.reset(token)


@contextmanager
def one_row(number: int) -> Iterator[None]:
    """Within, a layer is given that row of the call alone."""
    with told_by_row(rows[number : number + 1] if len(rows := _ROWS.get()) > 1 else rows):
        yield


def rows_told() -> tuple[Hashable, ...]:
    """What was said."""
    return _ROWS.get()


def watched(layer: nn.Module) -> bool:
    """Somebody looks at what the layer is given, or changes that in a way that is not known here or is to learn."""
    hooks = layer._forward_hooks.values()
    known = not torch.is_grad_enabled() and all(isinstance(hook, Beside) for hook in hooks)
    return bool(layer._forward_pre_hooks) or (bool(hooks) and not known)


def whole_weight(layer: nn.Linear) -> Tensor:
    """The weight and what is beside it for the one row that is told, in float32 or wider."""
    weight = layer.weight.to(torch.promote_types(layer.weight.dtype, torch.float32))
    hooks: list[object] = list(layer._forward_hooks.values())
    for hook in hooks:
        change = hook.change_of(layer) if isinstance(hook, Beside) else None
        weight = weight if change is None else weight + change.to(weight.dtype)
    return weight
