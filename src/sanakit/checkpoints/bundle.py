"""A model in memory: the three networks of a picture and the card that says how to use them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypedDict, Unpack

import torch

from sanakit.checkpoints.diffusers_layout import write_model_folder
from sanakit.checkpoints.files.hub import HubOptions
from sanakit.checkpoints.identity.card import PUBLISHED_TEXT_ENCODER, SMALL_TEXT_ENCODER, ImageDefaults, ModelCard
from sanakit.checkpoints.identity.hashing import combined_hash, hash_settings, hash_tensors, sampled
from sanakit.checkpoints.identity.known_models import (
    DEFAULT_AUTOENCODER,
    DEFAULT_LATENT_CHANNELS,
    known_card,
    known_precision,
)
from sanakit.checkpoints.identity.precision import DtypeRequest, parse_dtypes, resolve_dtypes
from sanakit.checkpoints.identity.scheduler import scheduler_defaults
from sanakit.checkpoints.identity.words import read_words
from sanakit.checkpoints.networks.dc_ae import DC_AE
from sanakit.checkpoints.networks.identify import Found
from sanakit.checkpoints.networks.kind import NetworkState
from sanakit.checkpoints.networks.library import check_transformers
from sanakit.checkpoints.networks.linear_dit import LINEAR_DIT
from sanakit.checkpoints.networks.starter_text_encoder import starter_text_encoder_folder
from sanakit.checkpoints.networks.strict_load import load_network
from sanakit.checkpoints.networks.text_encoder_check import check_text_encoder
from sanakit.checkpoints.networks.text_encoder_folder import load_text_encoder
from sanakit.checkpoints.networks.tokenizer_folder import check_tokenizer_files
from sanakit.checkpoints.sources.content_hashes import (
    bytes_to_hash,
    check_small_weights,
    hash_text_encoder,
    unknown_hashes,
)
from sanakit.checkpoints.sources.origin import Origin
from sanakit.checkpoints.sources.sources import FOLDERS_OF, ModelParts, find_parts, locate
from sanakit.common.config import to_mapping
from sanakit.common.errors import CheckpointError
from sanakit.common.files import written_aside
from sanakit.common.paths import as_path
from sanakit.kernels.arithmetic import own_arithmetic
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig
from sanakit.models.text.text_encoder import TextEncoder
from sanakit.models.transformers.linear_dit import LinearDiT

logger = logging.getLogger(__name__)


class Options(TypedDict, total=False):
    """Those of ``open_model``."""

    device: torch.device | str
    dtype: DtypeRequest
    hub: HubOptions | None
    force: bool
    text_encoder: str | Path | None
    autoencoder: str | Path | None


@dataclass(frozen=True, kw_only=True)
class ModelBundle:
    """Everything that a prompt passes through. Not slotted, so that the hash is kept once computed."""

    transformer: LinearDiT
    autoencoder: DCAutoencoder
    text_encoder: TextEncoder
    card: ModelCard
    parts: ModelParts | None = None  # the files it was loaded from; None for a model made in memory
    loaded: str = ""  # a digest of the weights as they came from the files
    words: Mapping[str, Any] = field(default_factory=dict)  # that it was trained on, if its folder has a words.json

    def _sampled(self) -> str:
        return " ".join(sampled(part.state_dict()) for part in self.components.values())

    def keep_sample(self) -> ModelBundle:
        """Remember the weights as they came from their files, for ``has_changed``."""
        return replace(self, loaded=self._sampled())

    @property
    def has_changed(self) -> bool:
        """Weights are no longer those of the files: a part was replaced, trained or merged with an adapter."""
        return bool(self.loaded) and self._sampled() != self.loaded

    @property
    def settings_hash(self) -> str:
        """SHA-256 of what decides a picture beside the tensors: configs of networks and prompts, perturbed layers."""
        text = replace(self.card.text, num_cached_prompts=0)
        configs = [to_mapping(config) for config in (self.transformer.config, self.autoencoder.config, text)]
        return hash_settings([*configs, self.card.defaults.pag_layers])

    @cached_property
    def model_hash(self) -> str:
        """SHA-256 of all weights in hex: the card's, else computed from the files, or from memory without files."""
        if self.card.model_hash:
            return self.card.model_hash
        if self.parts is None:
            return combined_hash(self.hash_memory())
        return combined_hash({**self.card.hashes, **unknown_hashes(self.parts, self.card.hashes)})

    def bytes_to_hash(self) -> int:
        """Bytes of files that ``model_hash`` reads when it is first asked for; 0 once it is known."""
        if self.card.model_hash or self.parts is None or "model_hash" in vars(self):
            return 0
        return bytes_to_hash(self.parts, self.card.hashes)

    @property
    def components(self) -> dict[str, LinearDiT | DCAutoencoder | TextEncoder]:
        """The networks by what they are to the model."""
        return {"transformer": self.transformer, "autoencoder": self.autoencoder, "text_encoder": self.text_encoder}

    @property
    def precisions(self) -> dict[str, str]:
        """What every component computes in, by name: ``bfloat16``."""
        return {name: str(part.compute_dtype).removeprefix("torch.") for name, part in self.components.items()}

    @property
    def precision(self) -> str:
        """``float32``, or each component's where they differ: ``transformer bfloat16, autoencoder float32, ...``."""
        names = set(self.precisions.values())
        if len(names) == 1:
            return names.pop()
        return ", ".join(f"{name.replace('_', ' ')} {precision}" for name, precision in self.precisions.items())

    def hash_memory(self) -> dict[str, str]:
        """Hashes of the tensors as they are now, in their present dtype."""
        return {name: hash_tensors(part.state_dict()) for name, part in self.components.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedModel:
    """What a source says of a model before anything that it lacks is fetched and before its weights are read.

    ``parts`` are its own; ``named`` are sources of parts that take the place of its own or are missing.
    """

    parts: ModelParts
    card: ModelCard
    words: Mapping[str, Any]
    dtypes: Mapping[str, torch.dtype]
    device: torch.device | str
    hub: HubOptions
    force: bool
    named: Mapping[str, str | Path | None]

    @property
    def replaces(self) -> bool:
        """Whether a part of another source, or of another variant, takes the place of one of its own."""
        return self.parts.variant is not None or any(source is not None for source in self.named.values())

    @own_arithmetic()
    def load(self) -> ModelBundle:
        """The model, with its weights; arguments and errors are those of ``sanakit.load``."""
        parts = complete(self.parts, self.hub, **self.named)
        assert parts.transformer is not None
        assert parts.autoencoder is not None
        assert parts.text_encoder is not None
        check_text_encoder(parts.text_encoder)
        check_tokenizer_files(parts.tokenizer or parts.text_encoder)
        if not self.force:
            check_small_weights(parts)
        card = card_of(parts) if parts.card is None else replace(self.card, hashes=parts.card.hashes)
        return ModelBundle(
            transformer=load_network(parts.transformer, dtype=self.dtypes["transformer"], device=self.device),
            autoencoder=load_network(parts.autoencoder, dtype=self.dtypes["autoencoder"], device=self.device),
            text_encoder=load_text_encoder(
                parts.text_encoder,
                parts.tokenizer,
                dtype=self.dtypes["text_encoder"],
                device=self.device,
                config=card.text,
                variant=parts.variant,
                trust_remote_code=self.hub.trusts(self.named.get("text_encoder") or parts.source),
            ),
            card=card,
            parts=parts,
            words=self.words,
        ).keep_sample()


def open_model(
    source: str | Path,
    *,
    device: torch.device | str = "cpu",
    dtype: DtypeRequest = None,
    hub: HubOptions | None = None,
    force: bool = False,
    text_encoder: str | Path | None = None,
    autoencoder: str | Path | None = None,
) -> OpenedModel:
    """A model that can make pictures, in a dtype that it works in; arguments and errors are those of ``sanakit.load``,
    ``hub`` says which files and how they come. Of a hub id, parts that are named otherwise are not fetched."""
    parse_dtypes(dtype)  # before anything is fetched
    check_transformers()
    hub = hub or HubOptions()
    hub.check_trust(text_encoder or source)
    named = {"text_encoder": text_encoder, "autoencoder": autoencoder}
    without = [FOLDERS_OF[name] for name, other in named.items() if other is not None]
    parts = find_parts(source, hub=hub, without=[folder for folders in without for folder in folders])
    check_transformer(parts)
    card = card_of(parts)
    if card.distilled:
        raise CheckpointError(f"{source} is a SANA-Sprint model, which sanakit converts but makes no pictures with yet")
    return OpenedModel(
        parts=parts,
        card=card,
        words=words_of_parts(parts),
        dtypes=resolve_dtypes(card.precision, dtype, device, force),
        device=device,
        hub=hub,
        force=force,
        named=named,
    )


def load_bundle(source: str | Path, **options: Unpack[Options]) -> ModelBundle:
    """Open a model and read its weights; options are those of ``open_model``."""
    return open_model(source, **options).load()


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
    if parts.autoencoder is None and autoencoder is None:
        _check_borrowing(parts)
    named = {"text_encoder": text_encoder, "autoencoder": autoencoder}
    foreign = [name for name, source in named.items() if source is not None or getattr(parts, name) is None]
    if parts.variant is not None:
        foreign = ["transformer", *named]
    if autoencoder is not None or parts.autoencoder is None:
        found = find_autoencoder(DEFAULT_AUTOENCODER if autoencoder is None else autoencoder, hub.for_others)
        parts = replace(parts, networks={**parts.networks, "autoencoder": found})
    if text_encoder is not None or parts.text_encoder is None:
        parts = with_text_encoder(parts, text_encoder, hub.for_others)
    if parts.card is not None:
        hashes = {name: value for name, value in parts.card.hashes.items() if name not in foreign}
        parts = replace(parts, card=replace(parts.card, hashes=hashes))
    replaced = {name: Origin.of(source) for name, source in named.items() if source is not None}
    return replace(parts, revision=hub.revision, replaced=replaced)


def check_transformer(parts: ModelParts) -> None:
    """Raises CheckpointError where a source has none."""
    if parts.transformer is None:
        lack = "has no transformer" if (parts.path / "model_index.json").is_file() else "holds an autoencoder alone"
        raise CheckpointError(f"{parts.path} {lack}; a transformer is needed to make pictures")


def _check_borrowing(parts: ModelParts) -> None:
    """Refuse, before anything is fetched, to decode with an autoencoder that cannot read these latents."""
    assert parts.transformer is not None
    channels = parts.transformer.config.in_channels
    is_published = parts.card is None or parts.card.text_encoder == PUBLISHED_TEXT_ENCODER
    if not is_published or channels != DEFAULT_LATENT_CHANNELS:
        raise CheckpointError(
            f"{parts.path} has no autoencoder (vae), and no published one fits in its place: its transformer makes "
            f"latents of {channels} channels; name the autoencoder that it was trained with"
        )


def find_autoencoder(source: str | Path, hub: HubOptions | None = None) -> Found[DCAutoencoderConfig, DCAutoencoder]:
    """The autoencoder of a model, of a folder of its own, or of a single file.

    Raises:
        CheckpointError: there is none, or it is the ``autoencoder.pt`` that runs of 0.1.0 left.
    """
    if Path(str(source)).name == "autoencoder.pt":
        raise CheckpointError(
            f"{source} is no longer read: a run leaves a folder now; name {Path(source).parent / 'model'}, and if it "
            f"is not there, give the command of that run again, which writes it from the run's last checkpoint"
        )
    found = find_parts(source, hub=hub, folders=("vae",)).autoencoder
    if found is None:
        raise CheckpointError(f"{source} holds no autoencoder")
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
    assert parts.transformer is not None
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


def compression_of(found: Found[DCAutoencoderConfig, DCAutoencoder] | None) -> int:
    """Pixels of one side per latent position; 32 for the autoencoder of the published models."""
    return found.config.compression if found else 32


def save_bundle(
    bundle: ModelBundle, folder: Path, *, include_text_encoder: bool = True, force: bool = False
) -> ModelCard:
    """Write a model as a diffusers folder, whole or not at all.

    Args:
        bundle: the model; its card is completed with the hashes of what is written.
        folder: the target.
        include_text_encoder: False leaves it out, as for the starter, whose encoder is kept in the user's cache.
        force: replace an existing folder.

    Returns:
        the card as written.
    """
    networks = (NetworkState.of(LINEAR_DIT, bundle.transformer), NetworkState.of(DC_AE, bundle.autoencoder))
    hashes = {network.kind.component: hash_tensors(network.tensors) for network in networks}
    text_hash = _hash_as_written(bundle.text_encoder) if include_text_encoder else _hash_as_borrowed(bundle)
    card = replace(bundle.card, hashes={**hashes, "text_encoder": text_hash})

    def write_text(building: Path) -> None:
        bundle.text_encoder.model.save_pretrained(building / "text_encoder")
        bundle.text_encoder.tokenizer.save_pretrained(building / "tokenizer")

    with written_aside(as_path(folder), force=force) as building:
        text = write_text if include_text_encoder else None
        write_model_folder(building, networks, card, text=text, words=bundle.words)
    return card


def _hash_as_written(text_encoder: TextEncoder) -> str:
    """In the dtype that it is in now, which is that of the files."""
    return hash_tensors(text_encoder.state_dict())


def _hash_as_borrowed(bundle: ModelBundle) -> str:
    """Of the files that it was read from, which whoever loads the folder reads again, in whatever dtype."""
    if bundle.parts is not None and bundle.parts.text_encoder is not None:
        return hash_text_encoder(bundle.parts)
    return bundle.card.hashes.get("text_encoder") or _hash_as_written(bundle.text_encoder)
