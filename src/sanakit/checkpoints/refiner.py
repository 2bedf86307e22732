"""What refines clips, from a diffusers folder of LTX-2 or Lightricks' single file: transformer, text connectors, text
encoder, and where there is one an upsampler of latents."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sanakit.checkpoints.files.hub import HubOptions
from sanakit.checkpoints.networks.refiner.latent_upsampler import LATENT_UPSAMPLER
from sanakit.checkpoints.networks.refiner.ltx2_connectors import LTX2_CONNECTORS
from sanakit.checkpoints.networks.refiner.ltx2_video import LTX2_VIDEO
from sanakit.checkpoints.networks.strict_load import check_whole, lay_out_network, load_network
from sanakit.checkpoints.sources.content_hashes import hash_network, hash_text_encoder
from sanakit.checkpoints.sources.sources import ModelParts, find_parts
from sanakit.checkpoints.text.decoder_json import decoder_config
from sanakit.checkpoints.text.text_encoder_check import check_text_encoder
from sanakit.checkpoints.text.text_encoder_folder import load_text_encoder
from sanakit.checkpoints.text.tokenizer_folder import check_tokenizer_files
from sanakit.common.errors import CheckpointError
from sanakit.models.latent_upsampler import LatentUpsampler
from sanakit.models.text.ltx2_connectors import LTX2Connectors, LTX2ConnectorsConfig
from sanakit.models.text.text_encoder import TextEncoder, TextEncoderConfig
from sanakit.models.transformers.ltx2_video import LTX2Video, LTX2VideoConfig
from sanakit.quantization.schemes import Scheme

_FOLDERS = ("transformer", "connectors", "latent_upsampler", "text_encoder", "tokenizer")
REFINER, CONNECTORS, UPSAMPLER = (kind.component for kind in (LTX2_VIDEO, LTX2_CONNECTORS, LATENT_UPSAMPLER))
TEXT_ENCODER = "refiner_text_encoder"
FOLLOWS = {REFINER: "transformer", CONNECTORS: "transformer", UPSAMPLER: "transformer", TEXT_ENCODER: "text_encoder"}
"""Whose dtype of the model's components each network has."""


@dataclass(frozen=True, kw_only=True)
class RefinerBundle:
    """The networks of a refiner. Not slotted, so that the hash is kept once computed."""

    transformer: LTX2Video
    connectors: LTX2Connectors
    text_encoder: TextEncoder
    upsampler: LatentUpsampler | None
    opened: OpenedRefiner
    readers: Mapping[str, Callable[[], nn.Module]] = field(default_factory=dict)  # of networks that take turns

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The modules that hold the weights, under names that no network of a model has."""
        upsampler: dict[str, nn.Module] = {} if self.upsampler is None else {UPSAMPLER: self.upsampler}
        own = {REFINER: self.transformer, CONNECTORS: self.connectors, TEXT_ENCODER: self.text_encoder.model}
        return {**own, **upsampler}

    @cached_property
    def hash(self) -> str:
        """SHA-256 of all its weights, every byte of which is read."""
        networks = self.opened.parts.networks
        parts = [hash_network(networks[name]) for name in sorted(networks)]
        return hashlib.sha256("\n".join([*parts, hash_text_encoder(self.opened.parts)]).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedRefiner:
    """What a source says of a refiner before its weights are read."""

    parts: ModelParts

    @property
    def name(self) -> str:
        """The last name of where it lies."""
        return self.parts.origin.name.rstrip("/").rsplit("/", 1)[-1]

    @property
    def config(self) -> LTX2VideoConfig:
        """Of its transformer."""
        config: LTX2VideoConfig = self.parts.networks[REFINER].config
        return config

    @property
    def scale(self) -> int:
        """Sides become so many times as large."""
        return 2 if UPSAMPLER in self.parts.networks else 1

    def load(
        self,
        *,
        device: torch.device | str,
        dtypes: Mapping[str, torch.dtype],
        schemes: Mapping[str, Scheme] | None = None,
        in_turns: bool = False,
    ) -> RefinerBundle:
        """With its weights, or in turns with those of the text encoder alone.

        Args:
            dtypes: of the model's components; each network has that of the one that it ``FOLLOWS``.
            schemes: of fewer bits, in which these are; transformer and text encoder follow them.

        Raises:
            CheckpointError: a weight is missing or damaged, or language model and connectors do not belong together.
        """
        found, how = self.parts.networks, self.how(dtypes, schemes or {})
        readers: dict[str, Any] = {
            name: partial(load_network, each, device=device, **how[name]) for name, each in found.items()
        }
        networks: dict[str, Any] = {
            name: lay_out_network(each, **how[name]) if in_turns else readers[name]() for name, each in found.items()
        }
        encoder = self._text_encoder(device, **how[TEXT_ENCODER])
        readers[TEXT_ENCODER] = lambda: self._text_encoder(device, **how[TEXT_ENCODER]).model
        return RefinerBundle(
            transformer=networks[REFINER],
            connectors=networks[CONNECTORS],
            text_encoder=encoder,
            upsampler=networks.get(UPSAMPLER),
            opened=self,
            readers=readers if in_turns else {},
        )

    def how(self, dtypes: Mapping[str, torch.dtype], schemes: Mapping[str, Scheme]) -> dict[str, dict[str, Any]]:
        """``dtype`` and ``quantize`` of each network and of the text encoder, by those of the model's components."""
        return {
            name: {
                "dtype": dtypes[FOLLOWS[name]],
                "quantize": schemes.get(FOLLOWS[name]) if name in (REFINER, TEXT_ENCODER) else None,
            }
            for name in (*self.parts.networks, TEXT_ENCODER)
        }

    def _text_encoder(self, device: torch.device | str, **how: Any) -> TextEncoder:
        parts, connectors = self.parts, self.parts.networks[CONNECTORS].config
        assert parts.text_encoder is not None
        text = TextEncoderConfig(instruction="", max_tokens=connectors.max_tokens)
        encoder = load_text_encoder(parts.text_encoder, parts.tokenizer, config=text, **how)
        _check_text(parts, connectors, encoder.hidden_size, encoder.num_layers)
        return encoder.to(device)


def open_refiner(source: str | Path, *, hub: HubOptions | None = None) -> OpenedRefiner:
    """A refiner by its headers alone.

    Raises:
        CheckpointError: the source holds none, or a part of one.
        DownloadError: a hub id that is not on this machine could not be fetched.
    """
    parts = _with_neighbours(find_parts(source, hub=hub, folders=_FOLDERS))
    if REFINER not in parts.networks:
        raise CheckpointError(f"{source} is no refiner of clips; give LTX-2, as a diffusers folder or Lightricks' file")
    lacks = ["connectors/"] if CONNECTORS not in parts.networks else []
    lacks += ["text_encoder/", "tokenizer/"] if parts.text_encoder is None else []
    if lacks:
        raise CheckpointError(f"{source} holds a part of a refiner; it lacks {', '.join(lacks)} beside its transformer")
    for found in parts.networks.values():
        check_whole(found)
    _check_together(parts)
    return OpenedRefiner(parts=parts)


def _with_neighbours(parts: ModelParts) -> ModelParts:
    """What a single file lacks, from folders that are called as in a diffusers folder and stand beside it."""
    if not parts.path.is_file():
        return parts
    folders = {name: parts.path.with_name(name) for name in _FOLDERS if parts.path.with_name(name).is_dir()}
    networks = dict(parts.networks)
    for name in (CONNECTORS, UPSAMPLER):
        if name in folders and name not in networks:
            networks |= find_parts(folders[name], folders=(name,)).networks
    return replace(
        parts, networks=networks, text_encoder=folders.get("text_encoder"), tokenizer=folders.get("tokenizer")
    )


def _check_together(parts: ModelParts) -> None:
    """Raises CheckpointError where one network does not read what another gives, by their configs."""
    connectors, transformer = (parts.networks[name].config for name in (CONNECTORS, REFINER))
    upsampler = parts.networks.get(UPSAMPLER)
    _refuse_other(parts, "connectors give texts", connectors.caption_channels, transformer.caption_channels)
    if upsampler is not None:
        _refuse_other(parts, "upsampler gives latents", upsampler.config.in_channels, transformer.in_channels)
    assert parts.text_encoder is not None
    fields = check_text_encoder(parts.text_encoder)
    check_tokenizer_files(parts.tokenizer or parts.text_encoder)
    text = decoder_config(fields)
    if text is not None:
        _check_text(parts, connectors, text.hidden_size, text.num_layers)


def _refuse_other(parts: ModelParts, what: str, given: int, read: int) -> None:
    if given != read:
        raise CheckpointError(
            f"{parts.path}: its {what} of {given} channels and its transformer reads {read}; they do not belong "
            f"together"
        )


def _check_text(parts: ModelParts, connectors: LTX2ConnectorsConfig, channels: int, num_layers: int) -> None:
    if (channels, num_layers + 1) != (connectors.caption_channels, connectors.num_states):
        raise CheckpointError(
            f"{parts.path}: its text encoder has {num_layers + 1} states of {channels} channels and its connectors "
            f"read {connectors.num_states} of {connectors.caption_channels}; they do not belong together"
        )
