"""What a model is, from its headers and configs alone: nothing of the weights is read."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sanakit.checkpoints.bundle import card_of
from sanakit.checkpoints.files.reader import WeightHeader, read_header, read_json
from sanakit.checkpoints.identity.card import ModelCard
from sanakit.checkpoints.networks.key_maps import KeyMap
from sanakit.checkpoints.networks.strict_load import (
    WeightSource,
    check_names,
    expected_shapes,
    identify_dc_ae,
    identify_linear_dit,
)
from sanakit.checkpoints.networks.text_encoder_folder import text_encoder_files
from sanakit.checkpoints.sources.sources import HubOptions, find_parts
from sanakit.common.config import to_mapping

BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True, kw_only=True, slots=True)
class ComponentDescription:
    """One network of a model as it lies on the disk."""

    name: str
    kind: str
    layout: str
    num_parameters: int
    num_bytes: int
    dtypes: tuple[str, ...]
    files: tuple[Path, ...]
    config: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelDescription:
    """What ``sanakit info`` shows; ``card`` is None for an autoencoder alone."""

    source: str
    path: Path
    card: ModelCard | None
    components: tuple[ComponentDescription, ...]
    missing: tuple[str, ...]  # components that are taken from elsewhere when the model is loaded


def describe(source: str | Path, *, variant: str | None = None, hub: HubOptions | None = None) -> ModelDescription:
    """Describe a folder, file, hub id or ``starter``; every name is checked, no tensor is read.

    Raises:
        CheckpointError: nothing is there, it is no SANA model, or it is incomplete.
    """
    parts = find_parts(source, variant=variant, hub=hub)
    components: list[ComponentDescription] = []
    if parts.transformer:
        components.append(describe_network("transformer", "LinearDiT", parts.transformer, identify_linear_dit))
    if parts.autoencoder:
        components.append(describe_network("autoencoder", "DCAutoencoder", parts.autoencoder, identify_dc_ae))
    if parts.text_encoder:
        components.append(describe_text_encoder(parts.text_encoder, parts.variant))
    present = {component.name for component in components}
    return ModelDescription(
        source=str(source),
        path=parts.path,
        card=card_of(parts) if parts.transformer else None,
        components=tuple(components),
        missing=tuple(name for name in ("transformer", "autoencoder", "text_encoder") if name not in present),
    )


def describe_network(
    name: str, kind: str, weights: WeightSource, identify: Callable[[WeightSource, WeightHeader], tuple[Any, KeyMap]]
) -> ComponentDescription:
    header = read_header(weights.files)
    config, layout = identify(weights, header)
    plan = check_names(layout, header.tensors, expected_shapes(config), weights.place)
    used = {part for origin in plan.origins.values() for part in origin.parts}
    return summary(name, kind, layout.layout, header, used, weights.files, to_mapping(config))


def describe_text_encoder(folder: Path, variant: str | None) -> ComponentDescription:
    config = read_json(folder / "config.json")
    files = text_encoder_files(folder, variant)
    header = read_header(files)
    kind = (config.get("architectures") or ["unknown"])[0]
    return summary("text_encoder", kind, "transformers", header, set(header.tensors), files, config)


def summary(
    name: str,
    kind: str,
    layout: str,
    header: WeightHeader,
    used: set[str],
    files: tuple[Path, ...],
    config: dict[str, Any],
) -> ComponentDescription:
    tensors = {key: info for key, info in header.tensors.items() if key in used}
    return ComponentDescription(
        name=name,
        kind=kind,
        layout=layout,
        num_parameters=sum(math.prod(info.shape) for key, info in tensors.items() if not key.endswith(BUFFERS)),
        num_bytes=sum(info.num_bytes for info in tensors.values()),
        dtypes=tuple(sorted({info.dtype for info in tensors.values() if not info.dtype.startswith("int")})),
        files=files,
        config=config,
    )
