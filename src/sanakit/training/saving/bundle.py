"""The files of a step that the guard kept: all that is needed to make it again, without a data set.

``batch.safetensors`` holds the micro-batch and what else the loss knows, ``weights.safetensors`` the weights before the
step, ``others.safetensors`` those of the networks beside, ``random.safetensors`` the random generators, and
``guard.json`` the recipe, the step, the terms of the loss and the range of every module's output.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sanakit.checkpoints.files.writer import write_safetensors
from sanakit.common.config import check_format, json_values
from sanakit.common.errors import CheckpointError, RequestError
from sanakit.training.step.random_state import random_state

BUNDLE_FILE = "guard.json"
_CONSTANTS = "constants."
FORMAT = 1
"""Of a bundle, the newest that is read."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """A step as it was kept; tensors are on the device where it is made again, the random state on the CPU."""

    facts: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    weights: Mapping[str, Tensor]
    random: Mapping[str, Tensor]
    device: str
    others: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)

    @property
    def stage(self) -> int:
        return int(self.facts["stage"])

    @property
    def model(self) -> Mapping[str, Any]:
        """The config of the network, as plain values."""
        model: Mapping[str, Any] = self.facts["model"]
        return model

    @property
    def constants(self) -> dict[str, Tensor]:
        """What the loss knew beside model and batch."""
        return {n.removeprefix(_CONSTANTS): t for n, t in self.tensors.items() if n.startswith(_CONSTANTS)}

    def weights_of(self, name: str) -> dict[str, Tensor]:
        """Of another network of the step; ``{}`` if there was none of that name."""
        return {n.removeprefix(f"{name}:"): t for n, t in self.others.items() if n.startswith(f"{name}:")}

    def batch(self, cls: type[T]) -> T:
        """The micro-batch, of the class that it had."""
        return unflatten(cls, self.tensors)


def write_bundle(
    folder: Path,
    facts: Mapping[str, Any],
    batch: Any,
    *,
    constants: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    others: Mapping[str, Tensor],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {**flatten(batch), **{f"{_CONSTANTS}{name}": tensor for name, tensor in constants.items()}}
    files = {"batch": tensors, "weights": weights, "others": others, "random": random_state()}
    for name, content in files.items():
        own = {n: t.detach().cpu().contiguous().clone() for n, t in content.items()}
        write_safetensors(folder / f"{name}.safetensors", own, {})
    (folder / BUNDLE_FILE).write_text(
        json.dumps({"format": FORMAT, **facts}, indent=1, ensure_ascii=False), encoding="utf-8"
    )


def read_bundle(folder: Path, device: str) -> Bundle:
    """What ``write_bundle`` wrote.

    Raises:
        RequestError: the folder is no bundle.
        CheckpointError: a file of it is damaged.
    """
    path = folder / BUNDLE_FILE
    if not path.is_file():
        raise RequestError(f"{folder} is no bundle of a stopped step: it has no {BUNDLE_FILE}")
    try:
        facts = json_values(path.read_text(encoding="utf-8"))
        tensors, weights = (load_file(folder / f"{name}.safetensors", device=device) for name in ("batch", "weights"))
        random = load_file(folder / "random.safetensors")
        beside = folder / "others.safetensors"  # not there in bundles of 0.1.0
        others = load_file(beside, device=device) if beside.exists() else {}
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(f"the bundle {folder} is damaged ({error})") from error
    check_format(facts, FORMAT, f"the bundle {folder}", error=CheckpointError)
    return Bundle(facts=facts, tensors=tensors, weights=weights, random=random, device=device, others=others)


def flatten(batch: Any, prefix: str = "batch") -> dict[str, Tensor]:
    """The tensors of a batch, by the path of their fields: ``batch.text.mask``."""
    tensors = {}
    for field in dataclasses.fields(batch):
        value, name = getattr(batch, field.name), f"{prefix}.{field.name}"
        if isinstance(value, Tensor):
            tensors[name] = value
        elif dataclasses.is_dataclass(value):
            tensors.update(flatten(value, name))
    return tensors


def unflatten(cls: type[T], tensors: Mapping[str, Tensor], prefix: str = "batch") -> T:
    """The batch whose fields ``flatten`` wrote."""
    hints, values = typing.get_type_hints(cls), {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        name = f"{prefix}.{field.name}"
        values[field.name] = tensors[name] if name in tensors else unflatten(hints[field.name], tensors, name)
    return cls(**values)
