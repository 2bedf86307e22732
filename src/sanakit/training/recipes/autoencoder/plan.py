"""The memory plan of an autoencoder's recipe, and the settings that fit."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from sanakit.checkpoints.bundle import find_autoencoder
from sanakit.features.batches import PixelBatch
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig
from sanakit.training.memory.memory_plan import MemoryPlan, StepSettings, Workload, fit, pixel_loss, plan_memory
from sanakit.training.objectives.perceptual import Perceptual, build_perceptual
from sanakit.training.objectives.reconstruction import reconstruction_loss
from sanakit.training.recipes.autoencoder.recipe import AutoencoderRecipe, load_any_autoencoder
from sanakit.training.recipes.autoencoder.stage import (
    AdversarialLosses,
    AutoencoderPhase,
    CountedDiscriminator,
    set_trainable,
)


class StageNetworks(nn.Module):
    """All networks of a phase: what is trained, and what only looks."""

    def __init__(self, model: DCAutoencoder, phase: AutoencoderPhase, perceptual: Perceptual | None) -> None:
        super().__init__()
        self.model, self.phase = model, phase
        self.perceptual = perceptual if phase.objective.perceptual_weight else None
        self.discriminator = (
            None if phase.gan is None else CountedDiscriminator(replace(phase.gan, start_step=0)).to("meta")
        )

    def generator_loss(self, pixels: Tensor) -> Tensor:
        """The larger of both trainees' steps."""
        if self.discriminator is not None:
            losses = AdversarialLosses(self.model, self.phase, self.discriminator, self.perceptual)
            return losses.generator(PixelBatch(pixels), torch.Generator())["loss"]
        return reconstruction_loss(
            self.model, pixels, torch.Generator(), config=self.phase.objective, perceptual=self.perceptual
        )["loss"]


def plan_autoencoder(recipe: AutoencoderRecipe, *, device: str) -> list[MemoryPlan]:
    """What one process needs in each phase. Reads headers of files, and the weights of the perceptual network."""
    works, settings = _works(recipe, device)
    return [plan_memory(work, each) for work, each in zip(works, settings, strict=True)]


def fit_autoencoder(recipe: AutoencoderRecipe, budget: int, *, device: str) -> AutoencoderRecipe:
    """The recipe with micro-batches, accumulation, precision and recomputation that fit into ``budget`` bytes.

    Raises:
        RequestError: nothing fits; it names the least memory that would.
    """
    works, settings = _works(recipe, device)
    chosen = [plan.settings for plan in fit(works, settings, budget)]
    phases = tuple(
        replace(phase, batch_size=each.batch_size, accumulation=each.accumulation)
        for phase, each in zip(recipe.phases, chosen, strict=True)
    )
    return replace(
        recipe,
        phases=phases,
        precision=chosen[0].precision,
        activation_checkpointing=chosen[0].activation_checkpointing,
    )


def _works(recipe: AutoencoderRecipe, device: str) -> tuple[list[Workload], list[StepSettings]]:
    config = _config(recipe)
    recipe.check_sizes(config)
    perceptual = None
    if any(phase.objective.perceptual_weight for phase in recipe.phases):
        perceptual = build_perceptual(recipe.perceptual)
    works, settings = [], []
    for phase in recipe.phases:
        with torch.device("meta"):
            model = DCAutoencoder(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        set_trainable(model, phase.trainable)
        works.append(Workload(
            name=phase.name, model=StageNetworks(model, phase, perceptual),
            loss=pixel_loss(_loss_of_networks, size=phase.crop or phase.resolution),
            optimizer=phase.optimizer or recipe.optimizer, device=device,
        ))  # fmt: skip
        settings.append(StepSettings(
            batch_size=phase.batch_size, accumulation=phase.accumulation, precision=recipe.precision,
            activation_checkpointing=recipe.activation_checkpointing,
        ))  # fmt: skip
    return works, settings


def _loss_of_networks(networks: nn.Module, pixels: Tensor) -> Tensor:
    assert isinstance(networks, StageNetworks)
    return networks.generator_loss(pixels)


def _config(recipe: AutoencoderRecipe) -> DCAutoencoderConfig:
    if recipe.model is not None:
        return recipe.model
    assert recipe.init is not None
    if recipe.init.endswith(".pt"):
        return load_any_autoencoder(recipe.init).config
    return find_autoencoder(recipe.init).config
