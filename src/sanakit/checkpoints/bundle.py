"""A model in memory: the three networks of a picture and the card that says how to use them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from sanakit.checkpoints.editing.diffusers_layout import write_dc_ae, write_frame, write_linear_dit
from sanakit.checkpoints.files.reader import read_header
from sanakit.checkpoints.identity.card import ModelCard, card_to_metadata
from sanakit.checkpoints.identity.hashing import ContentHashes, hash_tensors
from sanakit.checkpoints.identity.known_models import (
    DEFAULT_AUTOENCODER,
    DEFAULT_LATENT_CHANNELS,
    DEFAULT_TEXT_ENCODER,
    known_card,
    known_precision,
)
from sanakit.checkpoints.identity.precision import DtypeRequest, resolve_dtypes
from sanakit.checkpoints.networks.starter_text_encoder import starter_text_encoder_folder
from sanakit.checkpoints.networks.strict_load import (
    WeightSource,
    identify_dc_ae,
    identify_linear_dit,
    load_dc_ae,
    load_linear_dit,
)
from sanakit.checkpoints.networks.text_encoder_folder import load_text_encoder
from sanakit.checkpoints.sources.card_check import check_small_weights
from sanakit.checkpoints.sources.content_hashes import bytes_to_hash, hash_parts
from sanakit.checkpoints.sources.sources import HubOptions, ModelParts, find_parts, locate
from sanakit.common.errors import CheckpointError
from sanakit.common.files import written_aside
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.text.text_encoder import TextEncoder
from sanakit.models.transformers.linear_dit import LinearDiT

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ModelBundle:
    """Everything that a prompt passes through. Not slotted, so that the hash is kept once computed."""

    transformer: LinearDiT
    autoencoder: DCAutoencoder
    text_encoder: TextEncoder
    card: ModelCard
    parts: ModelParts | None = None  # the files it was loaded from; None for a model made in memory

    @cached_property
    def model_hash(self) -> str:
        """SHA-256 of all weights in hex: the card's, else computed from the files, or from memory without files."""
        if self.card.model_hash:
            return self.card.model_hash
        return (hash_parts(self.parts, self.card.hashes) if self.parts else self.hash_memory()).combined

    def bytes_to_hash(self) -> int:
        """Bytes of files that ``model_hash`` reads when it is first asked for; 0 once it is known."""
        if self.card.model_hash or self.parts is None or "model_hash" in vars(self):
            return 0
        return bytes_to_hash(self.parts, self.card.hashes)

    def hash_memory(self) -> ContentHashes:
        """Hashes of the tensors as they are now, in their present dtype."""
        return ContentHashes(
            transformer=hash_tensors(self.transformer.state_dict()),
            autoencoder=hash_tensors(self.autoencoder.state_dict()),
            text_encoder=hash_tensors(self.text_encoder.model.state_dict()),
        )


def load_bundle(
    source: str | Path,
    *,
    device: torch.device | str = "cpu",
    dtype: DtypeRequest = None,
    variant: str | None = None,
    revision: str | None = None,
    cache_dir: Path | None = None,
    local_files_only: bool = False,
    token: str | None = None,
    force: bool = False,
    text_encoder: str | Path | None = None,
    autoencoder: str | Path | None = None,
) -> ModelBundle:
    """Load a model from a folder, a file, a hub id, or ``starter``.

    Args:
        source: a diffusers folder, an upstream ``.pth``, one safetensors of the transformer, a hub id or ``starter``.
        device: where the networks go.
        dtype: None for what the checkpoint works in (float32 on the CPU); see ``resolve_dtypes``.
        variant: "fp16" or "bf16" files of a diffusers folder.
        revision, cache_dir, local_files_only, token: for hub ids, as everywhere in the ecosystem.
        force: load in a dtype that the checkpoint is known not to work in, or weights whose hash is not the card's.
        text_encoder, autoencoder: sources of these parts, instead of the model's own or the published ones.

    Raises:
        CheckpointError: a file is missing, broken or of another model.
        RequestError: the dtype is refused.
        DownloadError: something is not on this machine and could not be fetched.
    """
    hub = HubOptions(revision=revision, cache_dir=cache_dir, local_files_only=local_files_only, token=token)
    found = find_parts(source, variant=variant, hub=hub)
    parts = complete(found, hub, text_encoder=text_encoder, autoencoder=autoencoder)
    assert parts.transformer is not None
    assert parts.autoencoder is not None
    assert parts.text_encoder is not None
    card = card_of(parts)
    if card.family == "sana-sprint":
        raise CheckpointError(f"{source} is a SANA-Sprint model, which sanakit converts but makes no pictures with yet")
    dtypes = resolve_dtypes(card.precision, dtype, device, force)
    if not force:
        check_small_weights(parts)
    return ModelBundle(
        transformer=load_linear_dit(parts.transformer, dtype=dtypes.transformer, device=device),
        autoencoder=load_dc_ae(parts.autoencoder, dtype=dtypes.autoencoder, device=device),
        text_encoder=load_text_encoder(
            parts.text_encoder,
            parts.tokenizer,
            dtype=dtypes.text_encoder,
            device=device,
            config=card.text,
            variant=parts.variant,
        ),
        card=card,
        parts=parts,
    )


def complete(
    parts: ModelParts, hub: HubOptions, *, text_encoder: str | Path | None = None, autoencoder: str | Path | None = None
) -> ModelParts:
    """Fill in the parts that a source lacks: those that were named, else the ones that it was published with.

    What comes from elsewhere, or is a variant, may not be what the card has the hash of; its hash is computed when
    asked for.
    """
    if parts.transformer is None:
        lack = "has no transformer" if (parts.path / "model_index.json").is_file() else "holds an autoencoder alone"
        raise CheckpointError(f"{parts.path} {lack}; a transformer is needed to make pictures")
    if parts.autoencoder is None and autoencoder is None:
        check_borrowing(parts)
    named = {"text_encoder": text_encoder, "autoencoder": autoencoder}
    foreign = [name for name, source in named.items() if source is not None or getattr(parts, name) is None]
    if parts.variant is not None:
        foreign = ["transformer", *named]
    own_hub = replace(hub, revision=None)  # a revision is the model's, not that of the parts it borrows
    weights = parts.autoencoder
    if autoencoder is not None or weights is None:
        weights = find_autoencoder(autoencoder or DEFAULT_AUTOENCODER, own_hub)
    if text_encoder is not None or parts.text_encoder is None:
        model, tokenizer = text_folders(text_encoder_source(parts, text_encoder, own_hub))
        parts = replace(parts, text_encoder=model, tokenizer=tokenizer)
    if parts.card is not None:
        hashes = replace(parts.card.hashes, **dict.fromkeys(foreign, ""))
        parts = replace(parts, card=replace(parts.card, hashes=hashes))
    return replace(parts, autoencoder=weights, revision=hub.revision)


def check_borrowing(parts: ModelParts) -> None:
    """Refuse, before anything is fetched, to decode with an autoencoder that cannot read these latents."""
    assert parts.transformer is not None
    config, _ = identify_linear_dit(parts.transformer, read_header(parts.transformer.files))
    is_starter = parts.card is not None and parts.card.family == "starter"
    if is_starter or config.in_channels != DEFAULT_LATENT_CHANNELS:
        raise CheckpointError(
            f"{parts.path} has no autoencoder (vae), and no published one fits in its place: its transformer makes "
            f"latents of {config.in_channels} channels; name the autoencoder that it was trained with"
        )


def find_autoencoder(source: str | Path, hub: HubOptions) -> WeightSource:
    """The autoencoder of a model, of a folder of its own, or of a single file."""
    weights = find_parts(source, hub=hub, components=("vae",)).autoencoder
    if weights is None:
        raise CheckpointError(f"{source} holds no autoencoder")
    return weights


def text_encoder_source(parts: ModelParts, named: str | Path | None, hub: HubOptions) -> Path:
    if named is None and parts.card is not None and parts.card.family == "starter":
        return starter_text_encoder_folder()
    return locate(named or DEFAULT_TEXT_ENCODER, hub=hub, components=("text_encoder", "tokenizer"))


def text_folders(folder: Path) -> tuple[Path, Path]:
    """Model and tokenizer in a folder that holds both as one, or as two as in a diffusers folder."""
    if (folder / "text_encoder").is_dir():
        return folder / "text_encoder", folder / "tokenizer"
    return folder, folder


def card_of(parts: ModelParts) -> ModelCard:
    """The card that came with the weights, else what is known of them."""
    if parts.card is not None:
        return replace(parts.card, source=parts.source)
    assert parts.transformer is not None
    header = read_header(parts.transformer.files)
    config, _ = identify_linear_dit(parts.transformer, header)
    stored = {info.dtype for info in header.tensors.values()}
    return known_card(
        source=parts.source,
        names=parts.names,
        config=config,
        compression=compression_of(parts.autoencoder),
        scheduler=parts.scheduler,
        precision=known_precision(parts.names, config, stored=stored, variant=parts.variant),
    )


def compression_of(weights: WeightSource | None) -> int:
    """Pixels of one side per latent position; 32 for the autoencoder of the published models."""
    return identify_dc_ae(weights, read_header(weights.files))[0].compression if weights else 32


def save_bundle(
    bundle: ModelBundle,
    folder: Path,
    *,
    include_text_encoder: bool = True,
    dtype: torch.dtype | None = None,
    force: bool = False,
) -> ModelCard:
    """Write a model as a diffusers folder, whole or not at all.

    Args:
        bundle: the model; its card is completed with the hashes of what is written.
        folder: the target.
        include_text_encoder: False leaves it out, as for the starter, whose encoder is kept in the user's cache.
        dtype: of the stored transformer and autoencoder; None keeps theirs.
        force: replace an existing folder.

    Returns:
        the card as written.
    """
    transformer, autoencoder = stored_state(bundle.transformer, dtype), stored_state(bundle.autoencoder, dtype)
    hashes = ContentHashes(
        transformer=hash_tensors(transformer),
        autoencoder=hash_tensors(autoencoder),
        text_encoder=bundle.card.hashes.text_encoder or hash_tensors(bundle.text_encoder.model.state_dict()),
    )
    card = replace(bundle.card, hashes=hashes)
    with written_aside(Path(folder), force=force) as building:
        write_linear_dit(
            building / "transformer", bundle.transformer.config, transformer, metadata=card_to_metadata(card)
        )
        write_dc_ae(building / "vae", bundle.autoencoder.config, autoencoder, metadata={})
        if include_text_encoder:
            bundle.text_encoder.model.save_pretrained(building / "text_encoder")
            bundle.text_encoder.tokenizer.save_pretrained(building / "tokenizer")
        write_frame(building, card)
    return card


def stored_state(model: nn.Module, dtype: torch.dtype | None) -> Mapping[str, Tensor]:
    state = model.state_dict()
    if dtype is None:
        return state
    return {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in state.items()}
