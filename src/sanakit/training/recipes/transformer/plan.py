"""What a transformer's recipe needs memory for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from sanakit.adapters.adapter import Adapter, carry
from sanakit.adapters.new import AdapterConfig, new_adapter
from sanakit.checkpoints.adapters.places import Layers
from sanakit.checkpoints.editing.growth import GrowthConfig
from sanakit.checkpoints.files.hub import HubOptions
from sanakit.checkpoints.identity.known_models import known_precision
from sanakit.checkpoints.identity.precision import BFLOAT16_LINE, PrecisionPolicy
from sanakit.checkpoints.sources.complete import (
    card_of,
    check_transformer,
    complete,
    compression_of,
    find_autoencoder,
    find_clip_autoencoder,
)
from sanakit.checkpoints.sources.sources import ModelParts, find_parts
from sanakit.common.errors import CheckpointError, ConfigError
from sanakit.common.paths import as_path
from sanakit.models.autoencoders.clips import ClipAutoencoderConfig
from sanakit.models.presets import (
    published_autoencoder,
    published_clip_autoencoder,
    published_clip_transformer,
    published_transformer,
)
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.controlnet import ControlNet
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig
from sanakit.models.transformers.video_dit import VideoDiTConfig
from sanakit.training.memory.step_memory import LossOfBatch
from sanakit.training.objectives.flow_matching import FlowMatchingConfig, flow_matching_loss
from sanakit.training.recipes.transformer.control import ControlConfig
from sanakit.training.recipes.transformer.networks import TransformerConfig
from sanakit.training.recipes.transformer.starting_model import NetworkRecipe


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """The network of a recipe, pixels of a side and frames per latent position, and the longest text."""

    config: TransformerConfig
    compression: int
    temporal: int
    num_tokens: int

    def grown(self, growth: GrowthConfig | None) -> TransformerConfig:
        """The network that is trained."""
        config = self.config
        return config if growth is None or isinstance(config, VideoDiTConfig) else growth.grown_config(config)

    def latent_frames(self, frames: int) -> int | None:
        """Of clips of so many frames; None of pictures."""
        return 1 + (frames - 1) // self.temporal if isinstance(self.config, VideoDiTConfig) else None


def latent_loss(*, side: int, num_tokens: int, frames: int | None = None) -> LossOfBatch:
    """Flow matching on square latents with texts of ``num_tokens``, for plans; of clips with latent frames."""

    def loss(model: nn.Module, batch_size: int, device: torch.device) -> torch.Tensor:
        network: Any = model
        config = network.config
        embeds = torch.zeros(batch_size, num_tokens, config.caption_channels, device=device)
        mask = torch.ones(batch_size, num_tokens, dtype=torch.bool, device=device)
        shape = (config.in_channels, side, side) if frames is None else (config.in_channels, frames, side, side)
        latent = torch.zeros(batch_size, *shape, device=device)
        text = TextCondition(embeds, mask)
        prepared = network.prepare(text)
        if isinstance(control := getattr(model, "control", None), ControlNet):
            prepared = replace(prepared, controls=(control.prepare(text, latent, network),))
        terms = flow_matching_loss(
            lambda noisy, time: network(noisy, time, prepared), latent, torch.Generator(), config=FlowMatchingConfig()
        )
        return terms["loss"]

    return loss


def meta_adapter(model: nn.Module, layers: Layers, config: AdapterConfig) -> Adapter:
    """The adapter of a network without weights, which carries it and holds it as a part, to be counted."""
    adapter = new_adapter(model.requires_grad_(False), layers.diffusers, config, 0)
    carry(model, adapter, always=True)
    model.add_module("adapter", adapter)
    return adapter


def meta_control(model: LinearDiT, config: ControlConfig) -> ControlNet:
    """The ControlNet of a network without weights, which holds it as a part, to be counted."""
    control = ControlNet.copied(model.requires_grad_(False), config.blocks, config.topology).requires_grad_(True)
    model.add_module("control", control)
    return control


def network_shape(recipe: NetworkRecipe) -> NetworkShape:
    """What is known before anything is loaded.

    Reads headers of files; what is published is known by its name and not fetched.

    Raises:
        ConfigError: no recipe trains such a network.
    """
    init, model, text = recipe.init, recipe.model, recipe.text
    if isinstance(model, VideoDiTConfig):
        encoder = _clip_autoencoder(str(recipe.autoencoder))
        return NetworkShape(model, encoder.compression, encoder.temporal_compression, text.max_tokens if text else 300)
    if init is not None and not as_path(init).exists() and (clips := published_clip_transformer(init)) is not None:
        encoder = _clip_autoencoder(recipe.autoencoder or init)
        return NetworkShape(clips, encoder.compression, encoder.temporal_compression, text.max_tokens if text else 300)
    if init is not None and not as_path(init).exists():
        model = published_transformer(init)
    if model is not None:
        compression = 32 if recipe.autoencoder is None else _compression(recipe.autoencoder)
        return NetworkShape(model, compression, 1, text.max_tokens if text else 300)
    assert init is not None
    parts = find_parts(init)
    check_transformer(parts)
    config = parts.networks["transformer"].config
    if not isinstance(config, LinearDiTConfig | VideoDiTConfig):
        raise ConfigError(f"init: the network of {init} (SANA-Video 2.0) is run and not trained; begin with another")
    text = text or (parts.card.text if parts.card else None)
    compression, temporal = _compressions(recipe, parts, of_clips=isinstance(config, VideoDiTConfig))
    return NetworkShape(config, compression, temporal, text.max_tokens if text else 300)


def _compressions(recipe: NetworkRecipe, parts: ModelParts, *, of_clips: bool) -> tuple[int, int]:
    """In space and in time, by the autoencoder that is named, else by the model's own."""
    if recipe.autoencoder is None:
        encoder = complete(parts, HubOptions()).networks["autoencoder"].config
    elif of_clips:
        encoder = _clip_autoencoder(recipe.autoencoder)
    else:
        return _compression(recipe.autoencoder), 1
    return encoder.compression, encoder.temporal_compression


def picture_network(shape: NetworkShape) -> LinearDiTConfig:
    """Raises ConfigError where it is one of clips, which a recipe cannot train yet."""
    if isinstance(shape.config, VideoDiTConfig):
        raise ConfigError("such recipes train networks of pictures; one of clips is trained by type: transformer")
    return shape.config


def begun_policy(recipe: NetworkRecipe) -> PrecisionPolicy | None:
    """What the transformer of ``init`` works in, told as ``network_shape`` tells the network; None for a new one."""
    if recipe.init is None:
        return None
    config = None if as_path(recipe.init).exists() else published_transformer(recipe.init)
    if config is not None:
        return known_precision(recipe.init, config, stored=())
    if not as_path(recipe.init).exists() and published_clip_transformer(recipe.init) is not None:
        return BFLOAT16_LINE
    return card_of(find_parts(recipe.init)).precision


def _clip_autoencoder(source: str) -> ClipAutoencoderConfig:
    published = None if as_path(source).exists() else published_clip_autoencoder(source)
    if published is not None:
        return published
    try:
        config: ClipAutoencoderConfig = find_clip_autoencoder(source).config
    except CheckpointError as error:
        if as_path(source).exists():
            raise
        raise ConfigError(f"autoencoder: {error}; if another recipe makes it, train that one first") from error
    return config


def _compression(autoencoder: str) -> int:
    published = None if as_path(autoencoder).exists() else published_autoencoder(autoencoder)
    try:
        return published.compression if published else compression_of(find_autoencoder(autoencoder))
    except CheckpointError as error:
        if as_path(autoencoder).exists():
            raise
        raise ConfigError(f"autoencoder: {error}; if another recipe makes it, train that one first") from error
