"""What the linear layers of a network see while pictures are made: the ranges of their channels, and some rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

MAX_ROWS = 256  # kept of every layer
_ROWS_A_CALL = 8


@dataclass(kw_only=True, slots=True)
class LayerInputs:
    """Of one layer: the largest magnitude of every channel ``(K,)``, and rows ``(up to MAX_ROWS, K)``, float32."""

    largest: Tensor
    kept: list[Tensor] = field(default_factory=list)

    @property
    def rows(self) -> Tensor:
        return torch.cat(self.kept)

    def add(self, x: Tensor) -> None:
        """Inputs ``(..., K)`` of one call; of each a few rows are kept, spread over them, later ones in turn with
        earlier ones, so that early and late steps count alike."""
        rows = x.detach().float().flatten(0, -2)
        self.largest = torch.maximum(self.largest, rows.abs().amax(dim=0))
        self.kept.append(rows[:: max(len(rows) // _ROWS_A_CALL, 1)][:_ROWS_A_CALL].clone())
        if sum(map(len, self.kept)) > 2 * MAX_ROWS:
            self.kept = self.kept[::2]


@contextmanager
def recorded(network: nn.Module, only: Collection[str] | None = None) -> Iterator[dict[str, LayerInputs]]:
    """While it lasts, what the linear layers of ``network`` are given, by the names of those that were called."""
    seen: dict[str, LayerInputs] = {}
    layers = {name: part for name, part in network.named_modules() if isinstance(part, nn.Linear)}
    hooks = [
        layer.register_forward_pre_hook(partial(_note, seen, name))
        for name, layer in layers.items()
        if only is None or name in only
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _note(seen: dict[str, LayerInputs], name: str, _: nn.Module, inputs: tuple[Any, ...]) -> None:
    x = inputs[0]
    if name not in seen:
        seen[name] = LayerInputs(largest=torch.zeros(x.shape[-1], device=x.device))
    seen[name].add(x)
