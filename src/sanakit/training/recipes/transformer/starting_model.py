"""What a transformer run begins with: its network, the two frozen encoders, and what the model card will say."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sanakit.adapters.adapter import Adapter, carry
from sanakit.adapters.new import AdapterConfig, new_adapter
from sanakit.checkpoints.adapters.places import Layers
from sanakit.checkpoints.editing.derived_model import derived_card
from sanakit.checkpoints.editing.growth import GrowthConfig, grow
from sanakit.checkpoints.files.hub import HubOptions
from sanakit.checkpoints.identity.card import SMALL_TEXT_ENCODER, ImageDefaults, ModelCard, VideoDefaults
from sanakit.checkpoints.identity.precision import continued_policy, trained_policy
from sanakit.checkpoints.networks.identify import Found
from sanakit.checkpoints.networks.kind import NetworkState
from sanakit.checkpoints.networks.linear_dit import LINEAR_DIT
from sanakit.checkpoints.networks.strict_load import load_network
from sanakit.checkpoints.sources.complete import (
    card_of,
    complete,
    find_autoencoder,
    find_clip_autoencoder,
    with_text_encoder,
    words_of_parts,
)
from sanakit.checkpoints.sources.content_hashes import check_small_weights, hash_network, hash_text_encoder
from sanakit.checkpoints.sources.origin import Origin
from sanakit.checkpoints.sources.sources import ModelParts, find_parts
from sanakit.common.errors import CheckpointError, ConfigError
from sanakit.features.encoders import Encoders, encoders_of_parts
from sanakit.models.text.text_encoder import TextEncoderConfig
from sanakit.models.transformers.controlnet import ControlNet
from sanakit.models.transformers.linear_dit import LinearDiT
from sanakit.models.transformers.video_dit import VideoDiT, VideoDiTConfig
from sanakit.training.recipes.recipe import Recipe
from sanakit.training.recipes.transformer.initialization import initialize_
from sanakit.training.recipes.transformer.networks import TransformerConfig, begin_as_pictures_, build_transformer
from sanakit.training.step.standard_text import StandardText

logger = logging.getLogger(__name__)
OWN_LICENCE = "Apache-2.0"


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkRecipe(Recipe):
    """Where the network of a recipe and the frozen encoders around it come from."""

    makes_pictures: ClassVar[bool] = False  # to learn from, which are those that the model itself makes, to the bit

    init: str | None = None  # weights to begin with: starter, a model folder, a file, a hub id ...
    growth: GrowthConfig | None = None  # what is made of them before they are trained
    model: TransformerConfig | None = None  # ... or a new network; exactly one of init and model
    from_pictures: str | None = None  # a model of pictures, whose weights a new network of clips takes where it can
    autoencoder: str | None = None  # starter, a folder such as a run leaves; None: that of init
    text_encoder: str | None = None  # of a new model: a folder or hub id; None: the starter's
    text: TextEncoderConfig | None = None  # None: as init has it
    adapter: AdapterConfig | None = None  # what is trained beside the weights of init, which then stay as they are
    standardise_text: bool = False  # train on text states of mean 0 and deviation 1; the model is saved without it

    def __post_init__(self) -> None:
        Recipe.__post_init__(self)
        if self.init is not None and self.text_encoder is not None:
            raise ConfigError("text_encoder: belongs to a new model; with init: the model keeps its own")
        if self.init is None and self.growth is not None:
            raise ConfigError("growth: belongs to the weights of init:; a new network has the size that model: says")
        if self.from_pictures is not None and not isinstance(self.model, VideoDiTConfig):
            raise ConfigError("from_pictures: belongs to a new network of clips; give its model: with an attention")
        if self.adapter is not None:
            if self.init is None or self.growth is not None or self.standardise_text:
                raise ConfigError(
                    "adapter: is beside the weights of init: as they are, without growth or standardise_text"
                )
            if self.adapter.dropout and self.activation_checkpointing:
                raise ConfigError("adapter: dropout does not go together with activation_checkpointing; leave one out")


@dataclass(frozen=True, slots=True)
class StartingModel:
    """A network in float32 on its device, with everything around it.

    Attributes:
        card: of the model that will be exported, but for what only the end of the run knows.
        brings_text_encoder: the text encoder is a part of the exported folder, as it was of the one begun with.
        words: that the weights were trained on before, as their folder says.
        standard: what the network's text goes through while it is trained, if it does.
        given: the content hash of the network of ``init``; "" of a new one.
        adapter: what is trained in the place of the transformer, which carries it in every row.
        layers: of the transformer, where an adapter may be beside them.
        found: the files of the network of ``init``.
        control: what is trained in the place of the transformer, beside it.
        again: reads the network of ``init`` from its files once more, on the CPU.
    """

    transformer: LinearDiT | Any  # a VideoDiT of clips
    encoders: Encoders
    card: ModelCard
    brings_text_encoder: bool
    words: Mapping[str, Any] = field(default_factory=dict)
    standard: StandardText | None = None
    given: str = ""
    adapter: Adapter | None = None
    layers: Layers | None = None
    found: Found[Any, Any] | None = None
    control: ControlNet | None = None
    again: Callable[[], LinearDiT] | None = None

    @property
    def learner(self) -> nn.Module:
        """What is trained."""
        return self.adapter or self.control or self.transformer

    def network(self, weights: Mapping[str, Tensor]) -> LinearDiT | Any:
        """The transformer with weights of the run, on the CPU, apart from the one that is trained: a base model is read
        from its files once more, as a process may have only a part of it."""
        config = self.transformer.config  # of now: a stage may have added positions
        if self.adapter is None:
            network: LinearDiT | Any = build_transformer(config)
            network.load_state_dict(dict(self.folded(weights)))
            return network
        assert self.again is not None
        network = self.again()
        network.config = config
        adapter = deepcopy(self.adapter).cpu().eval()
        adapter.load_state_dict(dict(weights))
        carry(network, adapter.requires_grad_(False), always=True)
        return network

    def folded(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Weights of the run, for a network that is given the text encoder's states as they come."""
        return weights if self.standard is None else self.standard.fold(weights)

    def card_for(self, resolution: int, flow_shift: float, **of_clips: Any) -> ModelCard:
        """The card of a model for pictures of this side in pixels; of clips with what else `VideoDefaults` holds."""
        defaults = self.card.defaults
        if isinstance(defaults, VideoDefaults):
            defaults = replace(defaults, **of_clips)
        return replace(self.card, defaults=replace(defaults, base_size=resolution, flow_shift=flow_shift))


def starting_model(recipe: NetworkRecipe, device: str) -> StartingModel:
    """The network before the first step, from given weights or new.

    Raises:
        CheckpointError: the weights cannot be read, or are a distilled model.
        RequestError: they cannot grow so.
        ConfigError: no autoencoder is named for a new network.
    """
    if recipe.init is not None:
        start = _continued(recipe, recipe.init, device)
    else:
        assert recipe.model is not None
        start = _new(recipe, recipe.model, device)
    if recipe.adapter is not None:
        return with_adapter(start, recipe.adapter, recipe.seed)
    if not recipe.standardise_text:
        return start
    return replace(start, standard=StandardText(start.transformer.config.caption_channels).to(device))


def _continued(recipe: NetworkRecipe, source: str, device: str) -> StartingModel:
    found = find_parts(source)
    parts = complete(found, HubOptions(), autoencoder=recipe.autoencoder)
    found_network = parts.networks["transformer"]
    _check_whole(recipe, found_network)
    card = card_of(parts)
    if card.distilled:
        raise CheckpointError(f"{source} is a SANA-Sprint model; flow matching would undo its distillation")
    found_network.refuse_quantized("training")
    check_small_weights(parts)
    given = hash_network(found_network)
    began = f"{card.name} ({given[:12]})"
    transformer = load_network(found_network, dtype=torch.float32, device=device)
    if recipe.growth is not None:
        grown = grow(transformer.state_dict(), transformer.config, recipe.growth)
        state = NetworkState(kind=LINEAR_DIT, config=grown.config, tensors=grown.tensors)
        transformer, card = state.build().to(device), derived_card(parts, grown)
    kept = {name: value for name, value in card.hashes.items() if name not in parts.networks}
    text = recipe.text or card.text
    text = replace(text, num_layers=text.num_layers or card.text.num_layers)  # what the weights were trained on
    if found.text_encoder is None:
        kept["text_encoder"] = hash_text_encoder(parts)
    policy = continued_policy(card.precision)
    card = replace(card, text=text, precision=policy, trained_from=began, hashes=kept)
    encoders = encoders_of_parts(parts, card, device=device, for_pictures=recipe.makes_pictures)
    brings = found.text_encoder is not None
    again = partial(load_network, found_network, dtype=torch.float32)
    return StartingModel(
        transformer, encoders, card, brings, words_of_parts(found), given=given, found=found_network, again=again
    )


def _check_whole(recipe: NetworkRecipe, found: Found[Any, Any]) -> None:
    """Raises ConfigError where a network of clips is to be trained in a way that only those of pictures know."""
    if found.kind is not LINEAR_DIT and (recipe.growth is not None or recipe.adapter is not None):
        raise ConfigError(f"growth: and adapter: are not there for a {found.kind.noun} yet; train the whole of it")


def _begin_as_pictures(transformer: LinearDiT | VideoDiT, source: str | None) -> ModelCard | None:
    """The card of the model of pictures that a network of clips takes weights of, if it does."""
    if source is None or not isinstance(transformer, VideoDiT):
        return None
    parts = complete(find_parts(source), HubOptions())
    if parts.transformer is None:
        raise ConfigError(f"from_pictures: {source} is no model of pictures")
    new = begin_as_pictures_(transformer, load_network(parts.transformer, dtype=torch.float32))
    kinds = sorted({re.sub(r"\.\d+\.", ".N.", name) for name in new})
    logger.info("weights of %s; new are %s", source, ", ".join(kinds))
    return card_of(parts)


def with_adapter(start: StartingModel, config: AdapterConfig, seed: int) -> StartingModel:
    """With a new adapter, which its transformer carries and which is trained in its place."""
    layers = start.layers or Layers.of(LINEAR_DIT, start.transformer.config)
    start.transformer.requires_grad_(False)
    adapter = new_adapter(start.transformer, layers.diffusers, config, seed)
    carry(start.transformer, adapter, always=True)
    return replace(start, adapter=adapter, layers=layers)


def _new(recipe: NetworkRecipe, model: TransformerConfig, device: str) -> StartingModel:
    if recipe.autoencoder is None:
        raise ConfigError("a new model needs an autoencoder: starter, a model folder, or the one that a run has left")
    transformer = build_transformer(model)
    initialize_(transformer, torch.Generator().manual_seed(recipe.seed))
    given = _begin_as_pictures(transformer, recipe.from_pictures)
    of_clips = isinstance(model, VideoDiTConfig)
    named = None if recipe.text_encoder == "starter" else recipe.text_encoder
    card = ModelCard(
        name="sanakit",
        family="sana-video" if isinstance(model, VideoDiTConfig) else "sana-1.5" if model.qk_norm else "sana",
        defaults=VideoDefaults(base_size=1) if of_clips else ImageDefaults(base_size=1),
        precision=trained_policy("bfloat16" if recipe.precision == "bf16" else "float32"),
        text=recipe.text or (given.text if given is not None else TextEncoderConfig()),
        trained_from="" if given is None else f"{given.name}, of pictures",
        text_encoder=named or SMALL_TEXT_ENCODER,
        licence=OWN_LICENCE,
    )
    find: Callable[[str], Found[Any, Any]] = find_clip_autoencoder if of_clips else find_autoencoder
    networks = {"autoencoder": find(recipe.autoencoder)}
    origin = Origin("memory", card.name)
    parts = ModelParts(source="", path=Path(), origin=origin, names="", networks=networks, card=card)
    parts = with_text_encoder(parts)
    encoders = encoders_of_parts(parts, card, device=device)
    card = replace(card, hashes={"text_encoder": hash_text_encoder(parts)})
    return StartingModel(transformer.to(device), encoders, card, brings_text_encoder=False)
