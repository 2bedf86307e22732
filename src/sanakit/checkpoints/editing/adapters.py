"""Adapters made of others or of models, and models made of adapters; the files that go in stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sanakit.adapters.adapter import Adapter, Use, merged
from sanakit.adapters.side_paths import Full, LowRank, Place, SidePath
from sanakit.checkpoints.adapters.fit import FittedAdapter, open_adapter
from sanakit.checkpoints.adapters.places import Layers
from sanakit.checkpoints.editing.derived_model import read_base, write_derived
from sanakit.checkpoints.editing.growth import DerivedNetwork
from sanakit.checkpoints.networks.kind import NetworkState
from sanakit.checkpoints.networks.linear_dit import LINEAR_DIT
from sanakit.common.errors import RequestError
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig

State = NetworkState[LinearDiTConfig, LinearDiT]
Weighted = Sequence[tuple[str | Path, float]]

_UNCHANGED = 1e-6  # of a weight, by which rounding alone may change it


def describe_adapter(fitted: FittedAdapter) -> dict[str, Any]:
    """What there is to know of it, as plain values: spelling, layers with ranks and norms, what it was made of."""
    file = fitted.file
    paths = fitted.adapter.paths
    layers = {
        name: {
            "kind": _kind(path),
            "rank": path.rank,
            "scale": path.scale,
            "norm": float(torch.linalg.vector_norm(path.matrix() * path.scale)),
        }
        for name, path in paths.items()
    }
    return {
        "file": str(file.path),
        "sha256": file.sha256,
        "spelling": file.spelling,
        "kinds": sorted({layer["kind"] for layer in layers.values()}),
        "ranks": sorted({path.rank for path in paths.values()}),
        "layers": layers,
        "unmatched": fitted.left_out,
        "metadata": file.tags,
    }


def _kind(path: SidePath) -> str:
    names = {"LowRank": "LoRA", "Hadamard": "LoHa", "Kronecker": "LoKr", "Full": "full"}
    name = names[type(path).__name__]
    if path.magnitude is None:
        return name
    return "DoRA" if name == "LoRA" else f"{name} with DoRA"


def fuse(source: str | Path, uses: Weighted, folder: Path, *, force: bool = False) -> None:
    """Write a model whose transformer holds the changes of adapters.

    Raises:
        CheckpointError: an adapter does not fit.
        RequestError: the folder is there already.
    """
    parts, base = read_base(source)
    layers = Layers.of(LINEAR_DIT, base.config)
    opened = [(open_adapter(path, layers), weight) for path, weight in uses]
    tensors = {**base.tensors, **merged(base.tensors, [Use(each.adapter, weight) for each, weight in opened])}
    derived = DerivedNetwork(tensors=tensors, config=base.config, origins=tuple(range(base.config.num_layers)))
    record = {
        "adapters": [
            {"name": each.file.path.name, "sha256": each.file.sha256, "weight": weight} for each, weight in opened
        ]
    }
    write_derived(parts, base, derived, folder, record=record, force=force)


def extract(source: str | Path, changed: str | Path, rank: int) -> tuple[Adapter, Layers, dict[str, float]]:
    """The difference of two models as LoRA: of every layer its largest singular values.

    Returns:
        the adapter; the layers of the models; the share of the difference (of its squares) that is kept, by layer, and
        1.0 that nothing but these layers differs under ``""``, else less.

    Raises:
        RequestError: the models are of two sizes, or equal.
    """
    (_, before), (_, after) = read_base(source), read_base(changed)
    if before.config != after.config:
        raise RequestError(f"{source} and {changed} are of two sizes or kinds, whose difference is no adapter")
    layers = Layers.of(LINEAR_DIT, before.config)
    paths, kept = {}, {}
    for name, place in layers.diffusers.items():
        old, new = (_rows(state, place) for state in (before, after))
        difference = new - old
        total = difference.square().sum()
        if total.sqrt() <= _UNCHANGED * old.norm():
            continue
        left, values, right = torch.linalg.svd(difference, full_matrices=False)
        left, values, right = left[:, :rank], values[:rank], right[:rank]
        paths[name] = LowRank(place, values.sqrt()[:, None] * right, left * values.sqrt())
        kept[name] = float(values.square().sum() / total)
    if not paths:
        raise RequestError(f"{source} and {changed} have the same matrices, so there is nothing to extract")
    return Adapter(paths), layers, kept


def _rows(state: State, place: Place) -> Tensor:
    return state.tensors[f"{place.layer}.weight"].flatten(1)[place.rows].float()


def merge(uses: Weighted, layers: Layers) -> Adapter:
    """One adapter that does what several do together, to the rounding; LoRA stays low-rank, its ranks added up.

    Raises:
        RequestError: one has a magnitude (DoRA), whose change depends on the model.
    """
    by_name: dict[str, list[tuple[SidePath, float]]] = {}
    for path, weight in uses:
        for name, side in open_adapter(path, layers).adapter.paths.items():
            if side.magnitude is not None:
                raise RequestError(f"{path} is DoRA, whose change depends on the model; fuse it into one instead")
            by_name.setdefault(name, []).append((side, weight))
    return Adapter({name: _sum(paths) for name, paths in by_name.items()})


def _sum(paths: Sequence[tuple[SidePath, float]]) -> SidePath:
    place = paths[0][0].place
    low = [(path, path.scale * weight) for path, weight in paths if isinstance(path, LowRank)]
    if len(low) == len(paths):
        down = torch.cat([path.down for path, _ in low])
        up = torch.cat([path.up * share for path, share in low], dim=1)
        return LowRank(place, down.detach(), up.detach())
    total = sum(path.matrix() * (path.scale * weight) for path, weight in paths)
    assert isinstance(total, Tensor)
    return Full(place, total.detach())
