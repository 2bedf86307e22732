"""What a stage of an autoencoder's training needs memory for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from sanakit.features.batches import PixelBatch
from sanakit.training.memory.step_memory import LossOfBatch
from sanakit.training.objectives.perceptual import Perceptual
from sanakit.training.objectives.reconstruction import PixelAutoencoder, reconstruction_loss
from sanakit.training.recipes.autoencoder.stage import AdversarialLosses, AutoencoderStage, CountedDiscriminator


class StageNetworks(nn.Module):
    """All networks of a stage: what is trained, and what only looks."""

    def __init__(self, model: PixelAutoencoder, stage: AutoencoderStage, perceptual: Perceptual | None) -> None:
        super().__init__()
        self.model, self.stage = model, stage
        self.perceptual = perceptual if stage.objective.perceptual_weight else None
        self.discriminator = (
            None if stage.gan is None else CountedDiscriminator(replace(stage.gan, start_step=0)).to("meta")
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """The loss of the larger of both trainees' steps."""
        if self.discriminator is not None:
            losses = AdversarialLosses(self.model, self.stage, self.discriminator, self.perceptual)
            return losses.generator(PixelBatch(pixels), torch.Generator(), {})["loss"]
        return reconstruction_loss(
            self.model, pixels, torch.Generator(), config=self.stage.objective, perceptual=self.perceptual
        )["loss"]


def pixel_loss(
    loss_of_pixels: Callable[[nn.Module, Tensor], Tensor], *, size: int, frames: int | None = None
) -> LossOfBatch:
    """A loss of pictures ``(B, 3, size, size)``, or of clips ``(B, 3, frames, size, size)``, for plans."""

    def loss(model: nn.Module, batch_size: int, device: torch.device) -> Tensor:
        if frames is not None:
            return loss_of_pixels(model, torch.zeros(batch_size, 3, frames, size, size, device=device))
        pixels = torch.zeros(batch_size, 3, size, size, device=device).to(memory_format=torch.channels_last)
        return loss_of_pixels(model, pixels)

    return loss
