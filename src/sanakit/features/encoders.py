"""The two frozen networks that make training data: pictures to latents, captions to text features."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any, cast

import torch

from sanakit.checkpoints.files.hub import HubOptions
from sanakit.checkpoints.identity.card import ModelCard
from sanakit.checkpoints.identity.hashing import hash_tensors
from sanakit.checkpoints.identity.precision import resolve_dtypes
from sanakit.checkpoints.networks.identify import Found
from sanakit.checkpoints.networks.strict_load import load_network
from sanakit.checkpoints.sources.complete import card_of, complete
from sanakit.checkpoints.sources.sources import ModelParts, find_parts
from sanakit.checkpoints.text.text_encoder_folder import load_text_encoder
from sanakit.common.config import to_mapping
from sanakit.common.devices import quick_dtype
from sanakit.models.autoencoders.clips import ClipAutoencoder
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.text.text_encoder import TextEncoder

_DECODER_SETTINGS = frozenset({"decoder", "decoder_shortcut", "up", "head_activation"})


class Encoders:
    """Autoencoder and text encoder, each loaded when it is first needed.

    What they are is part of the key of every cached feature, see `latent_id` and `text_id`. They go at the end of a
    block of ``loaded``, and come back when they are needed again.

    Args:
        autoencoder: loads it; a model that is there anyway is given as ``lambda: model``.
        text: loads the text encoder with the instruction and lengths of the recipe.
    """

    def __init__(
        self, *, autoencoder: Callable[[], DCAutoencoder | ClipAutoencoder], text: Callable[[], TextEncoder]
    ) -> None:
        self._load_autoencoder, self._load_text = autoencoder, text

    @cached_property
    def latents(self) -> DCAutoencoder | ClipAutoencoder:
        """Whichever autoencoder makes the latents."""
        return self._load_autoencoder().eval().requires_grad_(False)

    @property
    def autoencoder(self) -> DCAutoencoder:
        """Of a model of pictures."""
        return cast(DCAutoencoder, self.latents)

    @property
    def of_clips(self) -> ClipAutoencoder | None:
        """Of a model of clips; None of one of pictures."""
        return self.latents if isinstance(self.latents, ClipAutoencoder) else None

    @cached_property
    def text(self) -> TextEncoder:
        return self._load_text()

    @property
    def compression(self) -> int:
        """Pixels of one side per latent position."""
        return self.latents.config.compression

    @property
    def latent_channels(self) -> int:
        return self.latents.config.latent_channels

    @cached_property
    def text_channels(self) -> int:
        """Of the features of a text; known also after the text encoder has gone."""
        return self.text.hidden_size

    @cached_property
    def latent_id(self) -> str:
        """SHA-256 of all that decides a picture's latent: the encoder's weights and dtype, shape and scaling.

        The decoder has no part in it, so latents stay valid while a decoder alone is trained on.
        """
        model = self.latents
        config = to_mapping(model.config)
        if isinstance(model, ClipAutoencoder):
            return _digest({"weights": hash_tensors(model.encoding_state()), "config": config})
        shape = {name: value for name, value in config.items() if name not in _DECODER_SETTINGS}
        return _digest({"weights": hash_tensors(model.encoder.state_dict()), "config": shape})

    @cached_property
    def text_id(self) -> str:
        """SHA-256 of all that decides a text's features: weights, dtype, vocabulary, instruction and lengths."""
        encoder, config = self.text, self.text.config
        facts = {"weights": hash_tensors(encoder.state_dict()), "vocabulary": _digest(encoder.tokenizer.get_vocab())}
        facts |= {"dtype": str(encoder.compute_dtype), "instruction": config.instruction_text}
        return _digest(facts | {"max_tokens": config.max_tokens, "lowercase": config.lowercase})

    @contextmanager
    def loaded(self) -> Iterator[Encoders]:
        """They may be used, and are let go when the block ends, with the accelerator's memory that they had."""
        try:
            yield self
        finally:
            for name in ("latents", "text"):
                vars(self).pop(name, None)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def encoders_of_model(source: str, *, device: str = "cpu") -> Encoders:
    """Those of a model: the starter, a folder, a file or a hub id. Its transformer is not loaded.

    Raises:
        CheckpointError: it cannot be read.
        DownloadError: something is not on this machine and could not be fetched.
    """
    parts = complete(find_parts(source), HubOptions())
    return encoders_of_parts(parts, card_of(parts), device=device)


def encoders_of_parts(parts: ModelParts, card: ModelCard, *, device: str, for_pictures: bool = False) -> Encoders:
    """Loaded when they are needed, in the dtypes in which the model runs; the text encoder in the one that is quick
    here, unless they are ``for_pictures``, which are to be those that the model makes."""
    dtypes = resolve_dtypes(card.precision, None, device)
    text_dtype = dtypes["text_encoder"] if for_pictures else quick_dtype(device)

    def load_autoencoder() -> DCAutoencoder | ClipAutoencoder:
        found: Found[Any, DCAutoencoder | ClipAutoencoder] = parts.networks["autoencoder"]
        return load_network(found, dtype=dtypes["autoencoder"], device=device)

    def load_text() -> TextEncoder:
        assert parts.text_encoder is not None
        return load_text_encoder(
            parts.text_encoder, parts.tokenizer, dtype=text_dtype, config=card.text,
            variant=parts.variant,
        ).to(device)  # fmt: skip

    return Encoders(autoencoder=load_autoencoder, text=load_text)


def _digest(facts: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
