"""A stage of an autoencoder's training: which part learns, from which losses, and against which discriminator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from sanakit.common.errors import ConfigError
from sanakit.features.batches import PixelBatch
from sanakit.layers.resample import Upsample
from sanakit.models.autoencoders.dc_ae_clips import DCClipAutoencoder
from sanakit.training.objectives.patch_gan import (
    PatchDiscriminator,
    PatchGANConfig,
    adaptive_weight,
    discriminator_loss,
    generator_loss,
)
from sanakit.training.objectives.perceptual import Perceptual
from sanakit.training.objectives.reconstruction import (
    PixelAutoencoder,
    ReconstructionConfig,
    as_frames,
    reconstruct,
    reconstruction_terms,
)
from sanakit.training.optimizers.config import OptimizerConfig
from sanakit.training.run.stage import StageConfig
from sanakit.training.step.trainee import Made

Trainable = Literal["all", "middle", "decoder", "decoder_head", "time"]


@dataclass(frozen=True, kw_only=True, slots=True)
class AutoencoderStage(StageConfig):
    """One stretch of the training.

    Attributes:
        resolution: of the pictures, in pixels; of files, the area of their bins.
        crop: side of a window of each picture; of scenes around an object, which sees more edges per second.
        trainable: what learns. "middle" is the last layer of the encoder and the first of the decoder, the latent
            adaptation of DC-AE; "decoder" and "decoder_head" (its last norm and convolution) keep latents valid.
            "time" is what puts the frames of clips together and apart, around an autoencoder of pictures as it is.
        frames: of clips, 1 for pictures; fps: of them.
        objective: weights of the reconstruction's terms.
        gan: a discriminator that joins in; it begins anew with each stage that has one.
        optimizer: of this stage; None: the recipe's.
    """

    resolution: int
    crop: int | None = None
    trainable: Trainable = "all"
    frames: int = 1
    fps: float = 8.0
    objective: ReconstructionConfig = field(default_factory=ReconstructionConfig)
    gan: PatchGANConfig | None = None
    optimizer: OptimizerConfig | None = None

    def __post_init__(self) -> None:
        StageConfig.__post_init__(self)
        if self.resolution < 1 or (self.crop is not None and self.crop < 1):
            raise ConfigError(f"stage {self.name}: resolution={self.resolution} and crop={self.crop} are in pixels")
        if self.frames < 1 or not self.fps > 0:
            raise ConfigError(f"stage {self.name}: frames={self.frames} and fps={self.fps} must be above 0")
        if self.gan is not None and self.gan.adaptive and self.trainable == "middle":
            raise ConfigError(
                f"stage {self.name}: an adaptive weight is measured at the last layer of the decoder, which "
                f"trainable: middle freezes; use adaptive: false"
            )

    @property
    def sides(self) -> tuple[int, ...]:
        return (self.resolution,)

    @property
    def trains_encoder(self) -> bool:
        return self.trainable in ("all", "middle")


def set_trainable(model: PixelAutoencoder, part: Trainable) -> None:
    """Give gradients to one part alone; batch norms elsewhere keep the statistics that they have.

    Raises:
        ConfigError: it is of clips' time, and this is an autoencoder of pictures.
    """
    model.requires_grad_(part == "all")
    picture, after = (model.picture, [model.spread]) if isinstance(model, DCClipAutoencoder) else (model, [])
    match part:
        case "all":
            parts: list[nn.Module] = [model]
        case "middle":
            parts = [picture.encoder.conv_out, picture.decoder.conv_in]
        case "decoder":
            parts = [*after, picture.decoder]
        case "decoder_head":
            parts = [picture.decoder.norm_out, picture.decoder.conv_out]
        case "time" if isinstance(model, DCClipAutoencoder):
            parts = [model.gather, model.spread]
        case "time":
            raise ConfigError("trainable: time is of autoencoders of clips; give time: {frames: 4} to make it one")
    model.eval()
    for each in parts:
        each.requires_grad_(True).train()


def last_weight(model: PixelAutoencoder) -> Tensor:
    """Of the convolution that makes the pixels."""
    last = (model.picture if isinstance(model, DCClipAutoencoder) else model).decoder.conv_out
    conv = last.conv if isinstance(last, Upsample) else last
    assert isinstance(conv, nn.Conv2d)
    return conv.weight


class CountedDiscriminator(nn.Module):
    """The discriminator with the number of micro-batches that it has learned from, which a checkpoint keeps."""

    seen: Tensor

    def __init__(self, config: PatchGANConfig) -> None:
        super().__init__()
        self.config = config
        self.discriminator = PatchDiscriminator(config)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.discriminator(pixels)


class AdversarialLosses:
    """The losses of a stage with two trainees: they step one after the other on the same reconstructions.

    Args:
        model: the autoencoder.
        stage: with its ``gan``.
        discriminator: who judges.
        perceptual: distance of the reconstruction's term, if it has a weight.
    """

    def __init__(
        self,
        model: PixelAutoencoder,
        stage: AutoencoderStage,
        discriminator: CountedDiscriminator,
        perceptual: Perceptual | None,
    ) -> None:
        self._model, self._stage, self._discriminator, self._perceptual = model, stage, discriminator, perceptual

    def generator(self, batch: PixelBatch, generator: torch.Generator, made: Made) -> Mapping[str, Tensor]:
        """The reconstruction's terms, and ``-mean judgement`` from the start step on; hands on what it decoded."""
        gan, objective = self._discriminator.config, self._stage.objective
        copy = reconstruct(self._model, batch.pixels, generator, latent_noise=objective.latent_noise)
        made["decoded"] = copy.decoded.detach()
        terms = reconstruction_terms(copy, config=objective, perceptual=self._perceptual)
        if gan.start_step and int(self._discriminator.seen) < gan.start_step * self._stage.accumulation:
            return terms
        self._discriminator.requires_grad_(False)
        adversarial = generator_loss(self._discriminator(copy.decoded))
        self._discriminator.requires_grad_(True)
        weight = torch.as_tensor(gan.weight, device=adversarial.device)
        if gan.adaptive:
            weight = weight * adaptive_weight(terms["loss"], adversarial, last_weight(self._model))
        return {**terms, "loss": terms["loss"] + weight * adversarial, "adversarial": adversarial, "gan_weight": weight}

    def discriminator(self, batch: PixelBatch, generator: torch.Generator, made: Made) -> Mapping[str, Tensor]:
        """Hinge loss between the pictures and what the generator made of them in its turn."""
        real, copied = self._discriminator(as_frames(batch.pixels)), self._discriminator(made["decoded"])
        self._discriminator.seen += 1
        return {"loss": discriminator_loss(real, copied), "real": real.mean(), "made": copied.mean()}
