"""An adapter, and how a network carries any number of them: its weights and its layers stay as they are.

What a row of a call takes is a ``Mix``, told with the row (``layers/beside.py``); a layer adds the side paths of its
mix to that row of its output. Rows are added to one after the other, so what one gets depends on no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from sanakit.adapters.side_paths import SidePath
from sanakit.layers.beside import rows_told


class Adapter(nn.Module):
    """Side paths of one network, each under the name that its layer has in diffusers."""

    def __init__(self, paths: Mapping[str, SidePath]) -> None:
        super().__init__()
        self._paths = nn.ModuleDict({name.replace(".", "/"): path for name, path in paths.items()})
        self.by_layer: dict[str, list[SidePath]] = {}
        for path in paths.values():
            self.by_layer.setdefault(path.place.layer, []).append(path)

    @property
    def paths(self) -> dict[str, SidePath]:
        return {name.replace("/", "."): cast(SidePath, path) for name, path in self._paths.items()}


class Use(NamedTuple):
    """How much of an adapter: 1 as it was trained."""

    adapter: Adapter
    weight: float = 1.0


Mix = tuple[Use, ...]
"""What is added together; ``()`` is nothing."""


class Carried:
    """The forward hook of a layer that carries side paths.

    Args:
        name: of the layer.
        always: the mix of every row where none is told, as in training.
    """

    def __init__(self, name: str, always: Mix = ()) -> None:
        self.name, self.always = name, always

    def __call__(self, layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        mixes = cast(tuple[Mix | None, ...], rows_told()) or (self.always,)
        found = [self._paths(mix) for mix in mixes]
        if not any(found):
            return None
        x, y = args[0], output
        if isinstance(layer, nn.Conv2d):  # of 1x1
            x, y = x.movedim(1, -1), y.movedim(1, -1)
        if len(found) == 1:
            made = _with_paths(layer, found[0], x, y)
        else:
            rows = zip(found, x.split(1), y.split(1), strict=True)
            parts = [_with_paths(layer, paths, own, out) if paths else out for paths, own, out in rows]
            made = torch.cat(parts) if torch.is_grad_enabled() else y  # which was added to in place
        return made.movedim(-1, 1) if isinstance(layer, nn.Conv2d) else made

    def change_of(self, layer: nn.Module) -> Tensor | None:
        """What the one row that is told adds to the layer's weight, ``(out, in)``; None for nothing."""
        (mix,) = cast(tuple[Mix | None, ...], rows_told()) or (self.always,)
        paths = self._paths(mix)
        return _change(matrix_of(layer), paths) if paths else None

    def _paths(self, mix: Mix | None) -> list[tuple[SidePath, float]]:
        return [(path, use.weight) for use in mix or () for path in use.adapter.by_layer.get(self.name, ())]


def _with_paths(layer: nn.Module, paths: list[tuple[SidePath, float]], x: Tensor, y: Tensor) -> Tensor:
    """``y`` with what the paths make of ``x``: in place, unless a gradient is to go through it."""
    in_place = not torch.is_grad_enabled()
    if in_place and all(path.magnitude is None for path, _ in paths):
        for path, share in paths:
            path.add_(y[..., path.place.rows], x, share)
        return y
    bias = cast("Tensor | None", layer.bias)
    added = []
    for path, share in paths:
        rows = path.place.rows
        own = None if bias is None else bias[rows]
        added.append(share * path(x, y[..., rows], own, lambda rows=rows: matrix_of(layer)[rows]))
    if not in_place:
        y = y.clone()
    for (path, _), part in zip(paths, added, strict=True):
        y[..., path.place.rows] += part
    return y


def matrix_of(layer: nn.Module) -> Tensor:
    """The weight of a linear layer, of a 1x1 convolution or of one in fewer bits: ``(out, in)``, float32 or wider."""
    dequantized = getattr(layer, "dequantized", None)
    weight = dequantized(torch.float32) if dequantized is not None else cast(Tensor, layer.weight)
    return weight.detach().flatten(1).to(torch.promote_types(weight.dtype, torch.float32))


@torch.no_grad()
def merged(tensors: Mapping[str, Tensor], uses: Sequence[Use]) -> dict[str, Tensor]:
    """The weights that adapters change, by name, with what they add together, in their own shape and dtype.

    Args:
        tensors: of a network, by its own names, on the adapters' device.
    """
    found: dict[str, list[tuple[SidePath, float]]] = {}
    for use in uses:
        for layer, paths in use.adapter.by_layer.items():
            found.setdefault(f"{layer}.weight", []).extend((path, use.weight) for path in paths)
    changed = {}
    for name, shares in found.items():
        stored = tensors[name]
        matrix = stored.flatten(1).to(torch.promote_types(stored.dtype, torch.float32))
        changed[name] = (matrix + _change(matrix, shares)).to(stored.dtype).view_as(stored)
    return changed


def _change(weight: Tensor, paths: Iterable[tuple[SidePath, float]]) -> Tensor:
    """What paths add to a weight ``(out, in)`` together, each by its share."""
    change = torch.zeros_like(weight)
    for path, share in paths:
        change[path.place.rows] += share * path.change(weight[path.place.rows])
    return change


def carry(network: nn.Module, adapter: Adapter, *, always: bool = False) -> None:
    """Let a network carry an adapter beside those that it carries already.

    Args:
        network: whose calls are told the mixes of their rows (``told_by_row``).
        adapter: made for it.
        always: every row takes it where nothing is told, as in training; for a network that carries nothing yet.
    """
    for name in adapter.by_layer:
        layer = network.get_submodule(name)
        if not any(isinstance(hook, Carried) for hook in layer._forward_hooks.values()):
            layer.register_forward_hook(Carried(name, (Use(adapter),) if always else ()))
