"""What a model lacks, and who stands in: the parts of a source made whole, its card and its words."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sanakit.checkpoints.diffusers_layout import WORDS_FILE
from sanakit.checkpoints.files.hub import HubOptions
from sanakit.checkpoints.identity.card import (
    PUBLISHED_TEXT_ENCODER,
    SMALL_TEXT_ENCODER,
    ImageDefaults,
    ModelCard,
    read_card,
)
from sanakit.checkpoints.identity.known_models import (
    DEFAULT_AUTOENCODER,
    DEFAULT_LATENT_CHANNELS,
    known_card,
    known_clip_card,
    known_precision,
)
from sanakit.checkpoints.identity.scheduler import scheduler_defaults
from sanakit.checkpoints.identity.words import read_words
from sanakit.checkpoints.networks.dc_ae import DC_AE, DC_CLIP_AE
from sanakit.checkpoints.networks.identify import Found
from sanakit.checkpoints.sources.origin import STARTER, Origin, starter_folder
from sanakit.checkpoints.sources.sources import ModelParts, find_parts, locate
from sanakit.checkpoints.text.starter_text_encoder import starter_text_encoder_folder
from sanakit.common.errors import CheckpointError, DownloadError
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig
from sanakit.models.transformers.controlnet import ControlNet, ControlNetConfig

logger = logging.getLogger(__name__)
T = TypeVar("T")
Find = Callable[[str | Path, HubOptions | None], Found[Any, Any]]


def words_of_parts(parts: ModelParts) -> Mapping[str, Any]:
    """The words that a model was trained on; an empty table where its folder has none.

    Raises:
        CheckpointError: its file is damaged or of a newer version.
    """
    return read_words(parts.words) if parts.words is not None else {}


def complete(
    parts: ModelParts, hub: HubOptions, *, text_encoder: str | Path | None = None, autoencoder: str | Path | None = None
) -> ModelParts:
    """Fill in the parts that a source lacks: those that were named, else the ones that it was published with.

    What comes from elsewhere, or is a variant, may not be what the card has the hash of; its hash is computed when
    asked for.
    """
    check_transformer(parts)
    parts = with_named_autoencoder(parts, hub, autoencoder)
    named = {"text_encoder": text_encoder, "autoencoder": autoencoder}
    foreign = [name for name, source in named.items() if source is not None or not _has(parts, name)]
    if parts.variant is not None:
        foreign = ["transformer", *named]
    if not _has(parts, "autoencoder"):
        found = _of_another(partial(find_autoencoder, DEFAULT_AUTOENCODER), "autoencoder", hub, is_named=False)
        parts = replace(parts, networks={**parts.networks, "autoencoder": found})
    if text_encoder is not None or parts.text_encoder is None:
        find = partial(with_text_encoder, parts, text_encoder)
        parts = _of_another(find, "text_encoder", hub, is_named=text_encoder is not None)
    if parts.card is not None:
        hashes = {name: value for name, value in parts.card.hashes.items() if name not in foreign}
        parts = replace(parts, card=replace(parts.card, hashes=hashes))
    replaced = {name: Origin.of(source) for name, source in named.items() if source is not None}
    return replace(parts, revision=hub.revision, replaced=replaced)


def with_named_autoencoder(parts: ModelParts, hub: HubOptions, source: str | Path | None) -> ModelParts:
    """The same parts with another source's autoencoder in the place of their own, which decides how they are planned.

    Raises:
        CheckpointError: there is none, or none is named where none fits by itself.
    """
    if source is None:
        if _has(parts, "autoencoder"):
            return parts
        if (whole := _with_starters(parts)) is not None:
            return whole
        _check_borrowing(parts)
        return parts
    find: Find = find_autoencoder if parts.transformer is not None else find_clip_autoencoder
    return replace(parts, networks={**parts.networks, "autoencoder": find(source, hub.for_others)})


def _has(parts: ModelParts, name: str) -> bool:
    return parts.text_encoder is not None if name == "text_encoder" else name in parts.networks


def _of_another(find: Callable[[HubOptions], T], component: str, hub: HubOptions, *, is_named: bool) -> T:
    """A part of another source; one that the model borrows is of the commit that is wanted, or where that cannot be
    had, of the present one."""
    others = hub.for_others
    if is_named or component not in hub.commits:
        return find(others)
    try:
        return find(replace(others, revision=hub.commits[component]))
    except DownloadError as error:
        logger.warning("%s; the present one is taken", error)
        return find(others)


def check_transformer(parts: ModelParts) -> None:
    """Raises CheckpointError where a source has none, of pictures or of clips."""
    if "transformer" not in parts.networks:
        kinds = {"controlnet": "a ControlNet", "refiner": "a refiner of clips (for --refine)"}
        alone = next((kinds[name] for name in parts.networks if name in kinds), "an autoencoder")
        lack = "has no transformer" if (parts.path / "model_index.json").is_file() else f"holds {alone} alone"
        raise CheckpointError(f"{parts.path} {lack}; a transformer is needed to make pictures")


def _with_starters(parts: ModelParts) -> ModelParts | None:
    """The same with the starter's autoencoder, and its words if there are none; None where the card names another."""
    own = "" if parts.card is None else parts.card.hashes.get("autoencoder", "")
    lent = read_card(starter_folder())
    if lent is None or not own or lent.hashes.get("autoencoder") != own:
        return None
    networks = {**parts.networks, "autoencoder": find_autoencoder(STARTER)}
    return replace(parts, networks=networks, words=parts.words or starter_folder() / WORDS_FILE)


def _check_borrowing(parts: ModelParts) -> None:
    """Refuse, before anything is fetched, to decode with an autoencoder that cannot read these latents."""
    channels = parts.networks["transformer"].config.in_channels
    is_published = parts.card is None or parts.card.text_encoder == PUBLISHED_TEXT_ENCODER
    if parts.transformer is None or not is_published or channels != DEFAULT_LATENT_CHANNELS:
        raise CheckpointError(
            f"{parts.path} has no autoencoder (vae), and no published one fits in its place: its transformer makes "
            f"latents of {channels} channels; name the autoencoder that it was trained with"
        )


def find_autoencoder(source: str | Path, hub: HubOptions | None = None) -> Found[DCAutoencoderConfig, DCAutoencoder]:
    """The autoencoder of a model, of a folder of its own, or of a single file.

    Raises:
        CheckpointError: there is none, or it is the ``autoencoder.pt`` that runs of 0.1.0 left.
    """
    found = _autoencoder_of(source, hub)
    if found is None or found.kind is not DC_AE:
        raise CheckpointError(f"{source} holds no autoencoder")
    return found


def find_trainable_autoencoder(source: str | Path) -> Found[Any, Any]:
    """The same, or one of clips that is built around one of pictures."""
    found = _autoencoder_of(source, None)
    return found if found is not None and found.kind is DC_CLIP_AE else find_autoencoder(source)


def _autoencoder_of(source: str | Path, hub: HubOptions | None) -> Found[Any, Any] | None:
    """Of any kind."""
    if Path(str(source)).name == "autoencoder.pt":
        raise CheckpointError(
            f"{source} is no longer read: a run leaves a folder now; name {Path(source).parent / 'model'}, and if it "
            f"is not there, give the command of that run again, which writes it from the run's last checkpoint"
        )
    return find_parts(source, hub=hub, folders=("vae",)).networks.get("autoencoder")


def find_clip_autoencoder(source: str | Path, hub: HubOptions | None = None) -> Found[Any, Any]:
    """The same of a model of clips."""
    found = _autoencoder_of(source, hub)
    if found is None or found.kind is DC_AE:
        raise CheckpointError(f"{source} holds no autoencoder of clips")
    return found


def find_controlnet(source: str | Path, hub: HubOptions | None = None) -> Found[ControlNetConfig, ControlNet]:
    """The ControlNet of a model, of a folder of its own, or of a single file, that of the transformer perhaps.

    Raises:
        CheckpointError: there is none.
    """
    found = find_parts(source, hub=hub, folders=("controlnet",)).networks.get("controlnet")
    if found is None:
        raise CheckpointError(f"{source} holds no ControlNet")
    return found


def with_text_encoder(parts: ModelParts, named: str | Path | None = None, hub: HubOptions | None = None) -> ModelParts:
    """The same parts with a text encoder: the one that was named, else the one that the model was trained with."""
    trained_with = parts.card.text_encoder if parts.card is not None else PUBLISHED_TEXT_ENCODER
    if named is None and trained_with == SMALL_TEXT_ENCODER:
        folder = starter_text_encoder_folder(parts.card.text.num_layers if parts.card else None)
    else:
        wanted = ("text_encoder", "tokenizer")
        folder = locate(trained_with if named is None else named, hub=hub or HubOptions(), folders=wanted)
    if (folder / "text_encoder").is_dir():  # two folders as in a diffusers folder, or one that holds both
        return replace(parts, text_encoder=folder / "text_encoder", tokenizer=folder / "tokenizer")
    return replace(parts, text_encoder=folder, tokenizer=folder)


def card_of(parts: ModelParts) -> ModelCard:
    """The card that came with the weights, else what is known of them; a scheduler beside it has the last word, which
    diffusers obeys too."""
    if parts.card is not None:
        return replace(parts.card, source=parts.source, defaults=_scheduled(parts.card.defaults, parts))
    if parts.transformer is None:
        found, autoencoder = parts.networks["transformer"], parts.networks.get("autoencoder")
        compression = 8 if autoencoder is None else autoencoder.config.compression
        return known_clip_card(
            source=parts.origin.name, config=found.config, compression=compression, scheduler=parts.scheduler
        )
    config = parts.transformer.config
    card = known_card(
        source=parts.source,
        names=parts.names,
        config=config,
        compression=compression_of(parts.autoencoder),
        scheduler=parts.scheduler,
        precision=known_precision(parts.names, config, stored=parts.transformer.stored_dtypes, variant=parts.variant),
    )
    return replace(card, name=parts.origin.name.rstrip("/").rsplit("/", 1)[-1])


def _scheduled(defaults: ImageDefaults, parts: ModelParts) -> ImageDefaults:
    for name, value in scheduler_defaults(parts.scheduler or {"_class_name": None}).items():
        if (of_card := getattr(defaults, name)) != value:
            logger.warning(
                "%s of %s is %s in its card and %s in its scheduler_config.json, which counts",
                name,
                parts.path,
                of_card,
                value,
            )
            defaults = replace(defaults, **{name: value})
    return defaults


def compression_of(found: Found[Any, Any] | None) -> int:
    """Pixels of one side per latent position; 32 for the autoencoder of the published models of pictures."""
    return int(found.config.compression) if found else 32
