"""From a source to a model in memory: opened, looked at, completed, loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypedDict, Unpack

import torch

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.checkpoints.files.hub import HubOptions
from sanakit.checkpoints.identity.card import ModelCard, VideoDefaults
from sanakit.checkpoints.identity.precision import DtypeRequest, parse_dtypes, resolve_dtypes
from sanakit.checkpoints.identity.schemes import SchemeRequest, check_uncalibrated, parse_schemes, scheme_names
from sanakit.checkpoints.networks.identify import Found
from sanakit.checkpoints.networks.kind import C, M
from sanakit.checkpoints.networks.strict_load import lay_out_network, load_network
from sanakit.checkpoints.refiner import OpenedRefiner
from sanakit.checkpoints.sources.complete import (
    card_of,
    check_transformer,
    complete,
    with_named_autoencoder,
    words_of_parts,
)
from sanakit.checkpoints.sources.content_hashes import check_small_weights
from sanakit.checkpoints.sources.sources import FOLDERS_OF, ModelParts, find_parts
from sanakit.checkpoints.text.text_encoder_check import check_text_encoder
from sanakit.checkpoints.text.text_encoder_folder import load_text_encoder
from sanakit.checkpoints.text.tokenizer_folder import check_tokenizer_files
from sanakit.kernels.arithmetic import own_arithmetic
from sanakit.models.text.text_encoder import TextEncoder
from sanakit.quantization.schemes import Scheme, scheme_named


class OtherParts(TypedDict, total=False):
    """Sources of parts that take the place of a model's own."""

    text_encoder: str | Path | None
    autoencoder: str | Path | None


class Options(OtherParts, total=False):
    """Those of ``open_model``."""

    device: torch.device | str
    dtype: DtypeRequest
    hub: HubOptions | None
    force: bool
    quantize: SchemeRequest


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
    schemes: Mapping[str, Scheme] = field(default_factory=dict)  # that parts are to be quantized in as they are loaded
    in_turns: bool = False  # one network in memory at a time: the text encoder first, the others when they are needed
    refiner: OpenedRefiner | None = None  # what goes over its clips

    @property
    def makes_clips(self) -> bool:
        """And not pictures."""
        return isinstance(self.card.defaults, VideoDefaults)

    @property
    def replaces(self) -> bool:
        """Whether a part of another source, or of another variant, takes the place of one of its own."""
        return self.parts.variant is not None or any(source is not None for source in self.named.values())

    @own_arithmetic()
    def load(self) -> ModelBundle:
        """The model, with its weights; arguments and errors are those of ``sanakit.load``."""
        parts = complete(self.parts, self.hub, **self.named)
        assert parts.text_encoder is not None
        check_text_encoder(parts.text_encoder)
        check_tokenizer_files(parts.tokenizer or parts.text_encoder)
        if not self.force:
            check_small_weights(parts)
        card = card_of(parts) if parts.card is None else replace(self.card, hashes=parts.card.hashes)
        read = self._empty if self.in_turns else self._network
        bundle = ModelBundle(
            text_encoder=self._text_encoder(parts, card),
            transformer=read(parts.networks["transformer"]),
            autoencoder=read(parts.networks["autoencoder"]),
            card=card,
            parts=parts,
            words=self.words,
            quantized=scheme_names(self.schemes),
        )
        if not self.in_turns:
            return bundle.keep_sample()
        networks = {name: partial(self._network, parts.networks[name]) for name in ("transformer", "autoencoder")}
        return replace(bundle, readers={**networks, "text_encoder": lambda: self._text_encoder(parts, card).model})

    def _text_encoder(self, parts: ModelParts, card: ModelCard) -> TextEncoder:
        assert parts.text_encoder is not None
        return load_text_encoder(
            parts.text_encoder,
            parts.tokenizer,
            dtype=self.dtypes["text_encoder"],
            config=card.text,
            variant=parts.variant,
            trust_remote_code=self.hub.trusts(self.named.get("text_encoder") or parts.source),
            quantize=self.schemes.get("text_encoder") or _ordered(card),
        ).to(self.device)

    def _network(self, found: Found[C, M]) -> M:
        name = found.kind.component
        return load_network(found, dtype=self.dtypes[name], device=self.device, quantize=self.schemes.get(name))

    def _empty(self, found: Found[C, M]) -> M:
        name = found.kind.component
        return lay_out_network(found, dtype=self.dtypes[name], quantize=self.schemes.get(name))


def _ordered(card: ModelCard) -> Scheme | None:
    """The scheme that a card asks for its text encoder, whose files are plain."""
    name = card.quantization.get("text_encoder")
    return None if name is None else scheme_named(name)


def open_model(
    source: str | Path,
    *,
    device: torch.device | str = "cpu",
    dtype: DtypeRequest = None,
    hub: HubOptions | None = None,
    force: bool = False,
    quantize: SchemeRequest = None,
    **others: Unpack[OtherParts],
) -> OpenedModel:
    """A model that can make pictures, in a dtype that it works in; arguments and errors are those of ``sanakit.load``,
    ``hub`` says which files and how they come. Of a hub id, parts that are named otherwise are not fetched."""
    parse_dtypes(dtype)  # before anything is fetched
    schemes = parse_schemes(quantize)
    check_uncalibrated(schemes)
    hub = hub or HubOptions()
    named: dict[str, Any] = {"text_encoder": None, "autoencoder": None, **others}
    hub.check_trust(named["text_encoder"] or source)
    without = [FOLDERS_OF[name] for name, other in named.items() if other is not None]
    parts = find_parts(source, hub=hub, without=[folder for folders in without for folder in folders])
    check_transformer(parts)
    parts = with_named_autoencoder(parts, hub, named["autoencoder"])
    card = card_of(parts)
    return OpenedModel(
        parts=parts,
        card=card,
        words=words_of_parts(parts),
        dtypes=resolve_dtypes(card.precision, dtype, device, force),
        device=device,
        hub=hub,
        force=force,
        named=named,
        schemes=schemes,
    )


def load_bundle(source: str | Path, **options: Unpack[Options]) -> ModelBundle:
    """Open a model and read its weights; options are those of ``open_model``."""
    return open_model(source, **options).load()
