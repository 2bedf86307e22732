"""A model in memory: the three networks of a picture and the card that says how to use them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sanakit.checkpoints.diffusers_layout import write_model_folder
from sanakit.checkpoints.identity.card import ModelCard
from sanakit.checkpoints.identity.hashing import combined_hash, hash_settings, hash_tensors, sampled
from sanakit.checkpoints.networks.kind import NetworkState
from sanakit.checkpoints.networks.kinds import kind_of_network
from sanakit.checkpoints.sources.content_hashes import bytes_to_hash, hash_text_encoder, unknown_hashes
from sanakit.checkpoints.sources.sources import ModelParts
from sanakit.checkpoints.text.text_encoder_folder import save_text_encoder
from sanakit.common.config import to_mapping
from sanakit.common.files import written_aside
from sanakit.common.paths import as_path
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.text.text_encoder import TextEncoder
from sanakit.models.transformers.linear_dit import LinearDiT
from sanakit.quantization.quantize import Quantization, quantization_of


@dataclass(frozen=True, kw_only=True)
class ModelBundle:
    """Everything that a prompt passes through. Not slotted, so that the hash is kept once computed."""

    transformer: LinearDiT | Any  # a VideoDiT of models of clips
    autoencoder: DCAutoencoder | Any  # a ClipAutoencoder of such
    text_encoder: TextEncoder
    card: ModelCard
    parts: ModelParts | None = None  # the files it was loaded from; None for a model made in memory
    loaded: str = ""  # a digest of the weights as they came from the files
    quantized: Mapping[str, str] = field(default_factory=dict)  # schemes by component, applied as it was loaded
    words: Mapping[str, Any] = field(default_factory=dict)  # that it was trained on, if its folder has a words.json
    readers: Mapping[str, Callable[[], nn.Module]] = field(default_factory=dict)  # of networks that take turns
    beside: Mapping[str, nn.Module] = field(default_factory=dict)  # that take turns with these and are of no model

    def need(self, component: str) -> None:
        """Have the weights of a network in memory; where networks take turns they are read, and the others' leave."""
        self.rest(but=component)
        network = {**self.networks, **self.beside}[component]
        if component in self.readers and next(network.parameters()).is_meta:
            vars(network).update(vars(self.readers[component]()))

    def rest(self, but: str = "") -> None:
        """Have the weights of networks that take turns leave, but those of one."""
        networks = {**self.networks, **self.beside}
        for name in self.readers.keys() - {but}:
            networks[name].to("meta")

    def with_beside(
        self, networks: Mapping[str, nn.Module], readers: Mapping[str, Callable[[], nn.Module]] | None = None
    ) -> ModelBundle:
        """The same with these networks beside its own, and no others."""
        own = {name: read for name, read in self.readers.items() if name in self.networks}
        return replace(self, beside=networks, readers={**own, **(readers or {})})

    @property
    def device(self) -> torch.device:
        """Where the networks are, or those of them whose turn it is; they take turns on the CPU alone."""
        networks = (*self.networks.values(), *self.beside.values())
        devices = (next(network.parameters()).device for network in networks)
        return next((device for device in devices if device.type != "meta"), torch.device("cpu"))

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
    def quantizations(self) -> dict[str, Quantization]:
        """Of the components that are in fewer bits."""
        found = {name: quantization_of(network) for name, network in self.networks.items()}
        return {name: quantization for name, quantization in found.items() if quantization}

    @property
    def fewer_bits(self) -> dict[str, str]:
        """Their schemes by name."""
        return {name: quantization.name for name, quantization in self.quantizations.items()}

    @property
    def rounds_activations(self) -> bool:
        """Some layers multiply whole numbers."""
        schemes = (scheme for each in self.quantizations.values() for scheme in each.layers.values())
        return any(scheme.rounds_activations for scheme in schemes)

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
    def components(self) -> dict[str, Any]:
        """The networks by what they are to the model."""
        return {"transformer": self.transformer, "autoencoder": self.autoencoder, "text_encoder": self.text_encoder}

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The modules that hold the weights of the components."""
        return {
            "transformer": self.transformer,
            "autoencoder": self.autoencoder,
            "text_encoder": self.text_encoder.model,
        }

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
    networks = [NetworkState.of(kind_of_network(each), each) for each in (bundle.transformer, bundle.autoencoder)]
    hashes = {network.kind.component: hash_tensors(network.tensors) for network in networks}
    text_hash = _hash_as_written(bundle.text_encoder) if include_text_encoder else _hash_as_borrowed(bundle)
    card = replace(bundle.card, hashes={**hashes, "text_encoder": text_hash})

    def write_text(building: Path) -> None:
        save_text_encoder(bundle.text_encoder, building / "text_encoder", building / "tokenizer")

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
