"""What a transformer run begins with: its network, the two frozen encoders, and what the model card will say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from sanakit.checkpoints.bundle import card_of, complete, find_autoencoder, with_text_encoder
from sanakit.checkpoints.editing.derived_model import derived_card
from sanakit.checkpoints.editing.growth import DerivedNetwork, GrowthConfig, grow
from sanakit.checkpoints.files.hub import HubOptions
from sanakit.checkpoints.identity.card import SMALL_TEXT_ENCODER, ImageDefaults, ModelCard
from sanakit.checkpoints.identity.precision import OWN_LINE
from sanakit.checkpoints.networks.strict_load import load_network
from sanakit.checkpoints.sources.content_hashes import check_small_weights, hash_parts
from sanakit.checkpoints.sources.sources import ModelParts, find_parts
from sanakit.common.errors import CheckpointError, ConfigError
from sanakit.features.encoders import Encoders, encoders_of_parts
from sanakit.models.text.text_encoder import TextEncoderConfig
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig
from sanakit.training.recipes.transformer.initialization import initialize_

OWN_LICENCE = "Apache-2.0"


@dataclass(frozen=True, slots=True)
class StartingModel:
    """A network in float32 on its device, with everything around it.

    Attributes:
        card: of the model that will be exported, but for what only the end of the run knows.
        brings_text_encoder: the text encoder is a part of the exported folder, as it was of the one begun with.
    """

    transformer: LinearDiT
    encoders: Encoders
    card: ModelCard
    brings_text_encoder: bool


def starting_model_of(
    source: str,
    *,
    growth: GrowthConfig | None = None,
    autoencoder: str | None,
    text: TextEncoderConfig | None,
    device: str,
) -> StartingModel:
    """Continue from the weights of a model: the starter, a folder, a file or a hub id.

    Args:
        growth: makes the network deeper first.

    Raises:
        CheckpointError: it cannot be read, or is a distilled model.
        RequestError: it cannot grow so.
    """
    found = find_parts(source)
    parts = complete(found, HubOptions(), autoencoder=autoencoder)
    assert parts.transformer is not None
    card = card_of(parts)
    if card.distilled:
        raise CheckpointError(f"{source} is a SANA-Sprint model; flow matching would undo its distillation")
    check_small_weights(parts)
    began = f"{card.name} ({hash_parts(parts, card.hashes)['transformer'][:12]})"
    transformer = load_network(parts.transformer, dtype=torch.float32, device=device)
    if growth is not None:
        grown = grow(transformer.state_dict(), transformer.config, growth)
        transformer, card = _network_of(grown).to(device), derived_card(parts, grown)
    kept = {name: value for name, value in card.hashes.items() if name not in parts.networks}
    card = replace(card, text=text or card.text, trained_from=began, hashes=kept)
    encoders = encoders_of_parts(parts, card, device=device)
    return StartingModel(transformer, encoders, card, brings_text_encoder=found.text_encoder is not None)


def _network_of(derived: DerivedNetwork) -> LinearDiT:
    with torch.device("meta"):
        network = LinearDiT(derived.config)
    network.load_state_dict(dict(derived.tensors), strict=True, assign=True)
    return network


def new_starting_model(
    model: LinearDiTConfig,
    *,
    seed: int,
    autoencoder: str | None,
    text_encoder: str | None,
    text: TextEncoderConfig | None,
    device: str,
) -> StartingModel:
    """A new network with weights drawn from ``seed``.

    Raises:
        ConfigError: no autoencoder is named.
    """
    if autoencoder is None:
        raise ConfigError("a new model needs an autoencoder: starter, a model folder, or the one that a run has left")
    transformer = LinearDiT(model)
    initialize_(transformer, torch.Generator().manual_seed(seed))
    named = None if text_encoder == "starter" else text_encoder
    card = ModelCard(
        name="sanakit",
        family="sana-1.5" if model.qk_norm else "sana",
        defaults=ImageDefaults(base_size=1),
        precision=OWN_LINE,
        text=text or TextEncoderConfig(),
        text_encoder=named or SMALL_TEXT_ENCODER,
        licence=OWN_LICENCE,
    )
    networks = {"autoencoder": find_autoencoder(autoencoder)}
    parts = with_text_encoder(ModelParts(source="", path=Path(), names="", networks=networks, card=card))
    encoders = encoders_of_parts(parts, card, device=device)
    return StartingModel(transformer.to(device), encoders, card, brings_text_encoder=False)
