"""Writing a diffusers folder: the form in which a model made or converted here opens everywhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from sanakit.checkpoints.files.reader import read_json
from sanakit.checkpoints.files.writer import write_weights
from sanakit.checkpoints.identity.card import ModelCard, VideoDefaults, card_to_metadata, write_card
from sanakit.checkpoints.networks.config_fields import DIFFUSERS_VERSION
from sanakit.checkpoints.networks.kind import Json, NetworkKind, NetworkState
from sanakit.common.files import write_json, written_aside
from sanakit.common.paths import as_path
from sanakit.sampling.solvers import solver_of

WriteText = Callable[[Path], None]
"""Writes ``text_encoder/`` and ``tokenizer/`` into a model folder."""

WORDS_FILE = "words.json"
_ABSENT = [None, None]


def write_model_folder(
    folder: Path,
    networks: Iterable[NetworkState[Any, Any]],
    card: ModelCard,
    *,
    text: WriteText | None,
    words: Mapping[str, Any] | None = None,
) -> None:
    """A whole model: its networks, the text encoder if there is one, and last what holds them together.

    Args:
        folder: an empty or new one; to be written aside and renamed by who calls this.
        networks: one after the other, so that no more than one need be in memory.
        card: is written into ``sanakit.json`` and beside the transformer's weights.
        text: None leaves the text encoder out.
        words: that the model was trained on, for ``words.json``; None or an empty one writes none.
    """
    classes: Json = {"vae": _ABSENT}
    for network in networks:
        kind = network.kind
        metadata = card_to_metadata(card) if kind.component == "transformer" else {}
        write_network(folder / kind.folder, network, metadata=metadata)
        if kind.is_of_diffusers(network.config):
            classes[kind.folder] = ["diffusers", kind.class_name]
    if text is not None:
        text(folder)
    scheduler = scheduler_to_json(card)
    (folder / "scheduler").mkdir()
    write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
    index = {
        "scheduler": ["diffusers", scheduler["_class_name"]],
        "text_encoder": _text_encoder_class(folder / "text_encoder"),
        "tokenizer": _tokenizer_class(folder / "tokenizer"),
        **classes,
    }
    pipeline = "SanaSprintPipeline" if card.distilled else "SanaPipeline"
    pipeline = "SanaVideoPipeline" if isinstance(card.defaults, VideoDefaults) else pipeline
    pipeline = "SanaControlNetPipeline" if "controlnet" in classes else pipeline
    first = {"_class_name": pipeline, "_diffusers_version": DIFFUSERS_VERSION}
    write_json(folder / "model_index.json", {**first, **dict(sorted(index.items()))})
    if words:
        write_json(folder / WORDS_FILE, words, indent=None)
    write_card(card, folder)


def write_network(folder: Path, network: NetworkState[Any, Any], *, metadata: dict[str, str] | None = None) -> None:
    """One network's folder: the config and the weights, under diffusers' names."""
    folder.mkdir(parents=True)
    write_json(folder / "config.json", network.to_json())
    write_weights(folder, network.layout.from_ours(network.tensors), metadata or {})


def save_network(
    kind: NetworkKind[Any, Any],
    model: nn.Module,
    folder: Path,
    *,
    force: bool = False,
    metadata: dict[str, str] | None = None,
) -> None:
    """A folder of one network alone, whole or not at all; ``find_autoencoder`` and diffusers open an autoencoder's.

    Raises:
        RequestError, OutputError: the folder exists and ``force`` is not set, or it cannot be written.
    """
    with written_aside(as_path(folder), force=force) as building:
        write_network(building, NetworkState.of(kind, model), metadata=metadata)


def scheduler_to_json(card: ModelCard) -> Json:
    """The scheduler that diffusers' ``SanaPipeline`` or ``SanaSprintPipeline`` runs with this model."""
    defaults = card.defaults
    solver = solver_of(defaults.solver, num_steps=defaults.num_inference_steps, flow_shift=defaults.flow_shift)
    return {"_class_name": solver.diffusers_class, "_diffusers_version": DIFFUSERS_VERSION, **solver.to_diffusers()}


def _text_encoder_class(folder: Path) -> list[Any]:
    """The bare decoder's class: a model saved with its language head opens as one too."""
    if not folder.is_dir():
        return _ABSENT
    architecture = (read_json(folder / "config.json").get("architectures") or ["AutoModel"])[0]
    return ["transformers", architecture.replace("ForCausalLM", "Model")]


def _tokenizer_class(folder: Path) -> list[Any]:
    if not folder.is_dir():
        return _ABSENT
    path = folder / "tokenizer_config.json"
    name = read_json(path).get("tokenizer_class") if path.is_file() else None
    return ["transformers", name or "AutoTokenizer"]
