"""What refines clips, from a diffusers folder of LTX-2: transformer, text connectors, text encoder, and where there is
one an upsampler of latents."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from sanakit.checkpoints.files.hub import HubOptions
from sanakit.checkpoints.networks.refiner.latent_upsampler import LATENT_UPSAMPLER
from sanakit.checkpoints.networks.refiner.ltx2_connectors import LTX2_CONNECTORS
from sanakit.checkpoints.networks.refiner.ltx2_video import LTX2_VIDEO
from sanakit.checkpoints.networks.strict_load import check_whole, load_network
from sanakit.checkpoints.sources.content_hashes import hash_network, hash_text_encoder
from sanakit.checkpoints.sources.sources import ModelParts, find_parts
from sanakit.checkpoints.text.text_encoder_folder import load_text_encoder
from sanakit.common.errors import CheckpointError
from sanakit.models.latent_upsampler import LatentUpsampler
from sanakit.models.text.ltx2_connectors import LTX2Connectors
from sanakit.models.text.text_encoder import TextEncoder, TextEncoderConfig
from sanakit.models.transformers.ltx2_video import LTX2Video, LTX2VideoConfig

_FOLDERS = ("transformer", "connectors", "latent_upsampler", "text_encoder", "tokenizer")


@dataclass(frozen=True, kw_only=True)
class RefinerBundle:
    """The networks of a refiner. Not slotted, so that the hash is kept once computed."""

    transformer: LTX2Video
    connectors: LTX2Connectors
    text_encoder: TextEncoder
    upsampler: LatentUpsampler | None
    opened: OpenedRefiner

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
        config: LTX2VideoConfig = self.parts.networks[LTX2_VIDEO.component].config
        return config

    def load(self, *, device: torch.device | str, dtype: torch.dtype, text_dtype: torch.dtype) -> RefinerBundle:
        """With its weights.

        Raises:
            CheckpointError: a weight is missing or damaged, or language model and connectors do not belong together.
        """
        parts = self.parts
        assert parts.text_encoder is not None
        networks: dict[str, Any] = {
            name: load_network(found, dtype=dtype, device=device) for name, found in parts.networks.items()
        }
        connectors: LTX2Connectors = networks[LTX2_CONNECTORS.component]
        text = TextEncoderConfig(instruction="", max_tokens=connectors.config.max_tokens)
        encoder = load_text_encoder(parts.text_encoder, parts.tokenizer, dtype=text_dtype, config=text).to(device)
        if encoder.hidden_size != connectors.config.caption_channels:
            raise CheckpointError(
                f"{parts.path}: its text encoder has states of {encoder.hidden_size} channels and its connectors read "
                f"{connectors.config.caption_channels}; they do not belong together"
            )
        return RefinerBundle(
            transformer=networks[LTX2_VIDEO.component],
            connectors=connectors,
            text_encoder=encoder,
            upsampler=networks.get(LATENT_UPSAMPLER.component),
            opened=self,
        )


def open_refiner(source: str | Path, *, hub: HubOptions | None = None) -> OpenedRefiner:
    """A refiner by its headers alone.

    Raises:
        CheckpointError: the source holds none, or a part of one.
        DownloadError: a hub id that is not on this machine could not be fetched.
    """
    parts = find_parts(source, hub=hub, folders=_FOLDERS)
    if LTX2_VIDEO.component not in parts.networks:
        raise CheckpointError(f"{source} is no refiner of clips; give a diffusers folder of LTX-2")
    if LTX2_CONNECTORS.component not in parts.networks or parts.text_encoder is None:
        raise CheckpointError(
            f"{source} holds a part of a refiner; beside transformer/ the folders connectors/, text_encoder/ and "
            f"tokenizer/ are due"
        )
    for found in parts.networks.values():
        check_whole(found)
    connectors, transformer = (parts.networks[kind.component].config for kind in (LTX2_CONNECTORS, LTX2_VIDEO))
    if connectors.caption_channels != transformer.caption_channels:
        raise CheckpointError(
            f"{source}: its connectors give {connectors.caption_channels} channels and its transformer reads "
            f"{transformer.caption_channels}; they do not belong together"
        )
    return OpenedRefiner(parts=parts)
