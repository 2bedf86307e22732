"""What a model is, from its headers and configs alone: nothing of the weights is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sanakit.checkpoints.files.hub import HubOptions
from sanakit.checkpoints.files.reader import TensorInfo, read_header
from sanakit.checkpoints.identity.card import ModelCard
from sanakit.checkpoints.identity.precision import COMPONENTS
from sanakit.checkpoints.networks.identify import Found
from sanakit.checkpoints.networks.kind import QUANTIZATION
from sanakit.checkpoints.networks.strict_load import check_whole
from sanakit.checkpoints.sources.complete import card_of, words_of_parts
from sanakit.checkpoints.sources.sources import find_parts
from sanakit.checkpoints.text.decoder_folder import decoder_parameters
from sanakit.checkpoints.text.decoder_json import decoder_config
from sanakit.checkpoints.text.text_encoder_check import check_text_encoder
from sanakit.checkpoints.text.text_encoder_folder import text_encoder_files
from sanakit.common.config import to_mapping
from sanakit.quantization.quantize import Quantization

_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True, kw_only=True, slots=True)
class ComponentDescription:
    """One network of a model as it lies on the disk."""

    name: str
    kind: str
    layout: str
    num_parameters: int
    num_bytes: int
    dtypes: tuple[str, ...]
    quantization: str  # its schemes; "" for plain weights
    files: tuple[Path, ...]
    config: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelDescription:
    """What ``sanakit info`` shows; ``card`` is None for an autoencoder alone."""

    source: str
    path: Path
    card: ModelCard | None
    components: tuple[ComponentDescription, ...]
    words: Mapping[str, Any]  # that it was trained on; empty where nobody says
    missing: tuple[str, ...]  # components that are taken from elsewhere when the model is loaded


def describe(source: str | Path, *, hub: HubOptions | None = None) -> ModelDescription:
    """Describe a folder, file, hub id or ``starter``; every name is checked, no tensor is read.

    Raises:
        CheckpointError: nothing is there, it is no SANA model, or it is incomplete.
    """
    parts = find_parts(source, hub=hub)
    components = [_describe_network(found) for found in parts.networks.values()]
    if parts.text_encoder:
        components.append(_describe_text_encoder(parts.text_encoder, parts.variant))
    present = {component.name for component in components}
    stands_beside = bool(present - set(COMPONENTS)) and "transformer" not in present  # a ControlNet, a refiner
    return ModelDescription(
        source=str(source),
        path=parts.path,
        card=card_of(parts) if "transformer" in parts.networks else None,
        components=tuple(components),
        words=words_of_parts(parts),
        missing=() if stands_beside else tuple(name for name in COMPONENTS if name not in present),
    )


def _describe_network(found: Found[Any, Any]) -> ComponentDescription:
    check_whole(found)
    used = {part for origin in found.plan.origins.values() for part in origin.parts}
    tensors = {name: info for name, info in found.header.tensors.items() if name in used}
    stored = ComponentDescription(
        name=found.kind.component,
        kind=type(found.config).__name__.removesuffix("Config"),
        layout=found.layout.layout,
        files=found.header.files,
        config=to_mapping(found.config),
        quantization=found.quantization.name,
        **_sizes(tensors),
    )
    if not found.quantization:
        return stored
    return replace(stored, num_parameters=_count(found.kind.shapes(found.config)))  # not how many bytes they fill


def _describe_text_encoder(folder: Path, variant: str | None) -> ComponentDescription:
    config = check_text_encoder(folder)
    header = read_header(text_encoder_files(folder, variant))
    stored = ComponentDescription(
        name="text_encoder",
        kind=(config.get("architectures") or ["unknown"])[0],
        layout="transformers",
        files=header.files,
        config=config,
        quantization="",
        **_sizes(header.tensors),
    )
    if not config.get(QUANTIZATION) or (ours := decoder_config(config)) is None:
        return stored
    name = Quantization.from_json(config[QUANTIZATION]).name
    return replace(stored, quantization=name, num_parameters=decoder_parameters(ours))


def _count(shapes: Mapping[str, tuple[int, ...]]) -> int:
    return sum(math.prod(shape) for name, shape in shapes.items() if not name.endswith(_BUFFERS))


def _sizes(tensors: Mapping[str, TensorInfo]) -> dict[str, Any]:
    return {
        "num_parameters": _count({name: info.shape for name, info in tensors.items()}),
        "num_bytes": sum(info.num_bytes for info in tensors.values()),
        "dtypes": tuple(sorted({info.dtype for info in tensors.values() if info.dtype != "int64"})),
    }
