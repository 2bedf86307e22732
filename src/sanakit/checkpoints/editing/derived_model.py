"""A model folder whose transformer was made from another model's: grown or pruned; everything else is that model's.

Nothing is rounded: tensors keep the dtype that they are stored in. ``derived.json`` says what was done to what.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from sanakit.checkpoints.diffusers_layout import write_model_folder
from sanakit.checkpoints.editing.convert import text_copier
from sanakit.checkpoints.editing.growth import DerivedNetwork
from sanakit.checkpoints.files.hub import HubOptions
from sanakit.checkpoints.identity.card import ModelCard
from sanakit.checkpoints.identity.hashing import hash_tensors
from sanakit.checkpoints.networks.kind import NetworkState
from sanakit.checkpoints.networks.strict_load import read_network
from sanakit.checkpoints.sources.complete import card_of, words_of_parts
from sanakit.checkpoints.sources.content_hashes import hash_parts
from sanakit.checkpoints.sources.sources import ModelParts, find_parts
from sanakit.common.errors import CheckpointError
from sanakit.common.files import write_json, written_aside
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig

_RECORD_FILE = "derived.json"


def read_base(
    source: str | Path, *, hub: HubOptions | None = None
) -> tuple[ModelParts, NetworkState[LinearDiTConfig, LinearDiT]]:
    """A model's parts, and its transformer as stored.

    Raises:
        CheckpointError: there is no transformer, or it does not fit its config.
    """
    parts = find_parts(source, hub=hub)
    if parts.transformer is None:
        raise CheckpointError(f"{parts.path} has no transformer, so there are no blocks to add or remove")
    parts.transformer.refuse_quantized("adding or removing blocks")
    return parts, read_network(parts.transformer)


def write_derived(
    parts: ModelParts,
    base: NetworkState[LinearDiTConfig, LinearDiT],
    derived: DerivedNetwork,
    folder: Path,
    *,
    record: Mapping[str, Any],
    force: bool = False,
) -> ModelCard:
    """Write the model, whole or not at all.

    Args:
        parts: of the base model; an autoencoder or text encoder that they lack is left out, and found as the base
            model's is when the folder is loaded.
        base: the transformer that ``derived`` was made from.
        derived: the new transformer.
        folder: the target.
        record: what was done, for ``derived.json``.
        force: replace an existing folder.

    Raises:
        RequestError, OutputError: the target exists, or cannot be written.
    """
    others = {name: found for name, found in parts.networks.items() if name != "transformer"}
    card = derived_card(parts, derived)
    known = {} if parts.variant else card.hashes  # of what the folder has not
    hashes = {**known, **hash_parts(replace(parts, networks=others)), "transformer": hash_tensors(derived.tensors)}
    card = replace(card, hashes=hashes)
    of_base = {
        "name": card_of(parts).name,
        "transformer": hash_tensors(base.tensors),
        "num_layers": base.config.num_layers,
    }
    content = {"base": of_base, "num_layers": derived.config.num_layers, "origins": list(derived.origins), **record}
    network = replace(base, config=derived.config, tensors=derived.tensors)
    with written_aside(folder, force=force) as path:
        networks = chain([network], map(read_network, others.values()))
        write_model_folder(path, networks, card, text=text_copier(parts), words=words_of_parts(parts))
        write_json(path / _RECORD_FILE, content)
    return card


def derived_card(parts: ModelParts, derived: DerivedNetwork) -> ModelCard:
    """The base model's card with another name; blocks that it numbers are found where they are now."""
    card = card_of(parts)
    base_layers = card.defaults.pag_layers
    layers = tuple(index for index, origin in enumerate(derived.origins) if origin in base_layers)
    if base_layers and not layers:
        layers = (derived.config.num_layers // 2,)
    family = "sana-1.5" if card.family == "sana" and derived.config.qk_norm else card.family
    name = f"{card.name}-{derived.config.num_layers}-blocks"
    return replace(card, name=name, family=family, defaults=replace(card.defaults, pag_layers=layers))
