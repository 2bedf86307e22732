"""The model card: what a user of the weights must know and the tensors do not say.

It is the file ``sanakit.json`` in a model folder, and the metadata entry ``sanakit`` in a single safetensors file.
Folders that others wrote have none; ``known_models`` then says what is known of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from sanakit.checkpoints.files.reader import parse_json, read_json
from sanakit.checkpoints.identity.hashing import combined_hash
from sanakit.checkpoints.identity.precision import COMPONENTS, PrecisionPolicy
from sanakit.checkpoints.identity.schemes import parse_schemes
from sanakit.checkpoints.text.starter_text_encoder import HUB_ID
from sanakit.common.config import check_format, from_mapping, to_mapping
from sanakit.common.errors import CheckpointError, ConfigError, RequestError
from sanakit.common.files import write_json
from sanakit.common.seeds import check_shared
from sanakit.common.version import __version__
from sanakit.models.text.text_encoder import TextEncoderConfig
from sanakit.sampling.flow_dpm import FlowDPM
from sanakit.sampling.scm import SCM
from sanakit.sampling.solvers import solver_kind

_CARD_FILE = "sanakit.json"
_METADATA_KEY = "sanakit"
FORMAT = 1
"""Of the card, the newest that is read."""
PUBLISHED_TEXT_ENCODER = "Efficient-Large-Model/gemma-2-2b-it"
SMALL_TEXT_ENCODER = HUB_ID  # of the starter, made ready in the user's cache

Family = Literal["sana", "sana-1.5", "sana-sprint", "sana-video", "starter", "diffusers"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageDefaults:
    """How a model of pictures is used where a request does not say."""

    base_size: int  # side in pixels of the pictures that it was trained on
    flow_shift: float = 3.0
    solver: str = FlowDPM.name
    num_inference_steps: int = 20
    guidance_scale: float = 4.5
    pag_layers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        solver_kind(self.solver)

    def of_few_steps(self) -> ImageDefaults:
        """Those of SANA-Sprint where its teacher's are known."""
        return replace(self, solver=SCM.name, num_inference_steps=2, pag_layers=())


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoDefaults(ImageDefaults):
    """The same of a model of clips; ``base_size`` is 480 or 720 for what is published, else the side of its frames."""

    flow_shift: float = 8.0
    num_inference_steps: int = 50
    guidance_scale: float = 6.0
    num_frames: int = 81
    fps: int = 16
    motion_score: int = 10
    shared_noise: float = 0.0  # share of the first noise's variance that all frames have in common

    def __post_init__(self) -> None:
        ImageDefaults.__post_init__(self)
        check_shared(self.shared_noise)


Defaults = ImageDefaults
"""Of pictures, or of clips."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCard:
    """Facts about a model beside its tensors."""

    name: str
    family: Family  # where its architecture and training come from; nothing is decided by it
    defaults: Defaults
    precision: PrecisionPolicy
    text: TextEncoderConfig = field(default_factory=TextEncoderConfig)
    text_encoder: str = PUBLISHED_TEXT_ENCODER  # it was trained with; borrowed by a folder that has none
    distilled: bool = False  # made for few steps, with the guidance scale as an input
    licence: str = ""  # "" = not stated
    trained_from: str = ""  # name and hash of the model whose weights its training began with
    source: str = ""  # where it was loaded from, as the user wrote it
    quantization: Mapping[str, str] = field(default_factory=dict)  # schemes by component; of the text encoder an order
    hashes: Mapping[str, str] = field(default_factory=dict)  # SHA-256 of each component's tensors, where it is known

    @property
    def model_hash(self) -> str:
        """One SHA-256 for the whole model, "" while a part's is not known; ``ModelBundle.model_hash`` computes it."""
        return combined_hash(self.hashes)


def card_to_json(card: ModelCard) -> dict[str, Any]:
    """In the words and the order of 0.1.0, which knew pictures only and told the rest by the family."""
    hashes = {**dict.fromkeys(COMPONENTS, ""), **card.hashes}
    content: dict[str, Any] = to_mapping(card) | {"precision": card.precision.to_json(), "hashes": hashes}
    del content["source"]  # true on one machine only
    del content["text"]["num_cached_prompts"]  # a habit of the process, not a fact about the model
    if content["text"]["num_layers"] is None:
        del content["text"]["num_layers"]  # which 0.1.0 did not know
    if not content["quantization"]:
        del content["quantization"]  # which earlier versions do not know, and would not read
    for name, value in _told_by_family(card.family).items():
        if content[name] == value:
            del content[name]
    flat = content.pop("defaults") | content
    first = {name: flat.pop(name) for name in ("name", "family", "base_size", "precision")}
    return first | flat | {"format": FORMAT}


def card_from_json(content: Mapping[str, Any], *, where: str) -> ModelCard:
    """Raises:
    CheckpointError: an entry is missing, unknown or of another type.
    """
    check_format(content, FORMAT, f"the model card {where}", error=CheckpointError)
    kind = VideoDefaults if "num_frames" in content else ImageDefaults
    flat = {each.name for each in fields(kind)}
    entries = {name: value for name, value in content.items() if name not in (*flat, "format")}
    if unknown := entries.keys() - {each.name for each in fields(ModelCard)}:
        raise CheckpointError(
            f"the model card {where} has an entry {min(unknown)!r} that this sanakit {__version__} does not know; a "
            f"newer one that wrote it reads it, else leave the entry out"
        )
    told = {name: value for name, value in content.items() if name in flat}
    try:
        precision = PrecisionPolicy.from_json(entries.get("precision", {}), where=f"{where}: precision")
        entries = {**_told_by_family(entries.get("family")), **entries, "precision": precision}
        defaults = from_mapping(kind, told, where=where)
        card = from_mapping(ModelCard, {**entries, "defaults": defaults}, where=where)
    except (ConfigError, TypeError, AttributeError) as error:
        raise CheckpointError(f"the model card {error}") from error
    try:
        parse_schemes({name: scheme for name, scheme in card.quantization.items() if name == "text_encoder"})
    except RequestError as error:
        raise CheckpointError(f"the model card {where}: {error}") from error
    defaults = card.defaults
    if card.distilled and defaults.solver != SCM.name:  # earlier cards have the teacher's
        defaults = defaults.of_few_steps()
    hashes = {component: value for component, value in card.hashes.items() if value}
    return replace(card, defaults=defaults, hashes=hashes)


def _told_by_family(family: object) -> dict[str, Any]:
    """What 0.1.0 meant by a family."""
    return {
        "text_encoder": SMALL_TEXT_ENCODER if family == "starter" else PUBLISHED_TEXT_ENCODER,
        "distilled": family == "sana-sprint",
    }


def read_card(folder: Path) -> ModelCard | None:
    """The card of a model folder; None where another program wrote the folder."""
    path = folder / _CARD_FILE
    return card_from_json(read_json(path), where=str(path)) if path.is_file() else None


def write_card(card: ModelCard, folder: Path) -> None:
    write_json(folder / _CARD_FILE, card_to_json(card))


def card_to_metadata(card: ModelCard) -> dict[str, str]:
    """Entries for the ``__metadata__`` of a safetensors file."""
    return {_METADATA_KEY: json.dumps(card_to_json(card), ensure_ascii=False)}


def card_from_metadata(metadata: Mapping[str, str], *, where: str) -> ModelCard | None:
    if _METADATA_KEY not in metadata:
        return None
    return card_from_json(parse_json(metadata[_METADATA_KEY], f"the model card in {where}"), where=where)
