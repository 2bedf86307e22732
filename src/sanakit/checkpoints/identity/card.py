"""The model card: what a user of the weights must know and the tensors do not say.

It is the file ``sanakit.json`` in a model folder, and the metadata entry ``sanakit`` in a single safetensors file.
Folders that others wrote have none; ``known_models`` then says what is known of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sanakit.checkpoints.files.reader import read_json
from sanakit.checkpoints.identity.hashing import ContentHashes
from sanakit.checkpoints.identity.precision import PrecisionPolicy
from sanakit.common.config import from_mapping, to_mapping
from sanakit.common.errors import CheckpointError, ConfigError
from sanakit.common.files import write_json
from sanakit.models.text.text_encoder import TextEncoderConfig
from sanakit.sampling.flow_dpm import FlowDPM
from sanakit.sampling.solvers import solver_kind

CARD_FILE = "sanakit.json"
METADATA_KEY = "sanakit"
Family = Literal["sana", "sana-1.5", "sana-sprint", "starter"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCard:
    """Facts about a model beside its tensors."""

    name: str
    family: Family
    base_size: int  # side in pixels of the pictures that it was trained on
    precision: PrecisionPolicy
    flow_shift: float = 3.0
    solver: str = FlowDPM.name
    num_inference_steps: int = 20
    guidance_scale: float = 4.5
    pag_layers: tuple[int, ...] = ()
    text: TextEncoderConfig = field(default_factory=TextEncoderConfig)
    licence: str = ""  # "" = not stated
    trained_from: str = ""  # name and hash of the model whose weights its training began with
    source: str = ""  # where it was loaded from, as the user wrote it
    hashes: ContentHashes = field(default_factory=ContentHashes)

    def __post_init__(self) -> None:
        solver_kind(self.solver)

    @property
    def model_hash(self) -> str:
        """One SHA-256 for the whole model, "" while a part's is not known; ``ModelBundle.model_hash`` computes it."""
        return self.hashes.combined


def card_to_json(card: ModelCard) -> dict[str, Any]:
    content: dict[str, Any] = to_mapping(card)
    content.pop("source")  # true on one machine only
    content["text"].pop("num_cached_prompts")  # a habit of the process, not a fact about the model
    return content


def card_from_json(content: Mapping[str, Any], *, where: str) -> ModelCard:
    try:
        return from_mapping(ModelCard, content, where=where)
    except ConfigError as error:
        raise CheckpointError(f"the model card {error}") from error


def read_card(folder: Path) -> ModelCard | None:
    """The card of a model folder; None where another program wrote the folder."""
    path = folder / CARD_FILE
    return card_from_json(read_json(path), where=str(path)) if path.is_file() else None


def write_card(card: ModelCard, folder: Path) -> None:
    write_json(folder / CARD_FILE, card_to_json(card))


def card_to_metadata(card: ModelCard) -> dict[str, str]:
    """Entries for the ``__metadata__`` of a safetensors file."""
    return {METADATA_KEY: json.dumps(card_to_json(card), ensure_ascii=False)}


def card_from_metadata(metadata: Mapping[str, str], *, where: str) -> ModelCard | None:
    if METADATA_KEY not in metadata:
        return None
    try:
        content = json.loads(metadata[METADATA_KEY])
    except ValueError as error:
        raise CheckpointError(f"the model card in {where} is not valid JSON ({error})") from error
    return card_from_json(content, where=where)
