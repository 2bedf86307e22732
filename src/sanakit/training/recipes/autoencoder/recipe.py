"""Training an autoencoder in phases: a new one or from given weights, on the starter's scenes or a user's pictures."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from sanakit.checkpoints.bundle import find_autoencoder
from sanakit.checkpoints.networks.strict_load import load_network
from sanakit.common.config import from_mapping, to_mapping
from sanakit.common.errors import CheckpointError, ConfigError
from sanakit.common.files import written_aside
from sanakit.common.ranks import process_group, wait_for_all
from sanakit.features.batches import PixelBatch, TrainingData
from sanakit.features.configs import PixelDataConfig, ScenePictures
from sanakit.features.open import pixel_data
from sanakit.features.work import Demand
from sanakit.layers.norms import PixelRMSNorm
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig
from sanakit.training.loop import Watchers, train
from sanakit.training.objectives.perceptual import FeatureStages, Perceptual, PerceptualConfig, build_perceptual
from sanakit.training.objectives.reconstruction import reconstruction_loss
from sanakit.training.optimizers import AdamWConfig, OptimizerConfig
from sanakit.training.recipes.autoencoder.report import report_autoencoder
from sanakit.training.recipes.autoencoder.stage import (
    AdversarialLosses,
    AutoencoderPhase,
    CountedDiscriminator,
    set_trainable,
)
from sanakit.training.run.run_config import RunConfig
from sanakit.training.run.stage import PlannedStage, Stage, Trainee
from sanakit.training.step.parallel import whole_state

logger = logging.getLogger(__name__)

NUM_SCALE_PICTURES = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class AutoencoderRecipe(RunConfig):
    """Everything a run needs; the random draws follow from ``seed``."""

    type: Literal["autoencoder"] = "autoencoder"
    init: str | None = None  # weights to begin with: starter, a model folder, a file, autoencoder.pt of a run ...
    model: DCAutoencoderConfig | None = None  # ... or a new network; exactly one of the two
    data: PixelDataConfig = field(default_factory=ScenePictures)
    perceptual: PerceptualConfig = field(default_factory=PerceptualConfig)
    optimizer: OptimizerConfig = field(default_factory=AdamWConfig)
    phases: tuple[AutoencoderPhase, ...]

    def __post_init__(self) -> None:
        RunConfig.__post_init__(self)
        if (self.init is None) == (self.model is None):
            raise ConfigError("a recipe needs init: (weights to begin with) or model: (a new network), one of the two")
        if not self.phases:
            raise ConfigError("a recipe needs at least one phase")
        if len({phase.name for phase in self.phases}) < len(self.phases):
            raise ConfigError(f"the phases need names of their own, not {[phase.name for phase in self.phases]}")
        if self.parallel == "fsdp" and any(phase.gan for phase in self.phases):
            raise ConfigError("parallel: fsdp does not go together with a phase that has a gan; use ddp")
        if self.model is not None:
            self.check_sizes(self.model)

    def check_sizes(self, model: DCAutoencoderConfig) -> None:
        """The pictures of every phase must split into latents."""
        for phase in self.phases:
            size = phase.crop or phase.resolution
            if size % model.compression:
                raise ConfigError(f"phase {phase.name}: {size} px is no multiple of {model.compression}")


def train_autoencoder(
    recipe: AutoencoderRecipe,
    folder: Path,
    *,
    device: str = "cpu",
    watchers: Watchers | None = None,
    features: FeatureStages | None = None,
) -> DCAutoencoder:
    """Run every phase, and write the averaged weights as ``folder / "autoencoder.pt"`` with a report.

    Args:
        features: network of the perceptual term, instead of the recipe's.

    Returns:
        the autoencoder; its scaling factor was measured anew if its encoder was trained.
    """
    with process_group() as ranks:
        model = build_model(recipe, device)
        recipe.check_sizes(model.config)
        perceptual = None
        if any(phase.objective.perceptual_weight for phase in recipe.phases):
            if features is not None:
                perceptual = Perceptual(features, recipe.perceptual.stage_weights)
            else:
                perceptual = build_perceptual(recipe.perceptual, device=device)
        stages = [
            PlannedStage(phase, partial(_stage, recipe, index, model, perceptual, device))
            for index, phase in enumerate(recipe.phases)
        ]
        train(
            stages,
            recipe,
            folder,
            ranks=ranks,
            device=device,
            sharded=recipe.parallel == "fsdp",
            watchers=watchers or Watchers(),
        )
        weights = whole_state(model.state_dict())
        whole = DCAutoencoder(model.config).to(device)
        whole.load_state_dict(weights)
        whole.eval().requires_grad_(False)
        if any(phase.trains_encoder for phase in recipe.phases):
            whole = with_measured_scale(whole, recipe, device)
        if ranks.is_first:
            save_autoencoder(whole, folder / "autoencoder.pt")
            report_autoencoder(whole, recipe, folder, device=device)
        wait_for_all(ranks)
    return whole


def build_model(recipe: AutoencoderRecipe, device: str) -> DCAutoencoder:
    """The network before the first step, float32, channels last."""
    if recipe.init is not None:
        model = load_any_autoencoder(recipe.init, device=device)
    else:
        assert recipe.model is not None
        torch.manual_seed(recipe.seed)
        model = DCAutoencoder(recipe.model)
        quiet_residuals_(model)
    return model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _stage(
    recipe: AutoencoderRecipe, index: int, model: DCAutoencoder, perceptual: Perceptual | None, device: str
) -> Stage:
    phase = recipe.phases[index]
    before = recipe.phases[index - 1] if index else None
    set_trainable(model, phase.trainable)
    data = phase_data(recipe, index, model.config.compression)
    same = before is not None and (before.trainable, before.optimizer) == (phase.trainable, phase.optimizer)
    trainees = build_trainees(recipe, index, model, perceptual, device)
    return Stage(phase, data, trainees, keep_optimizer=same and phase.gan is None)


def build_trainees(
    recipe: AutoencoderRecipe, index: int, model: DCAutoencoder, perceptual: Perceptual | None, device: str
) -> tuple[Trainee, ...]:
    """The autoencoder, and in a phase with a gan its discriminator."""
    phase = recipe.phases[index]
    optimizer = phase.optimizer or recipe.optimizer
    if phase.gan is None:

        def loss(batch: PixelBatch, generator: torch.Generator) -> dict[str, Tensor]:
            return reconstruction_loss(model, batch.pixels, generator, config=phase.objective, perceptual=perceptual)

        return (Trainee("generator", model, loss, optimizer),)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed + index)
        discriminator = CountedDiscriminator(phase.gan).to(device)
    losses = AdversarialLosses(model, phase, discriminator, perceptual)
    return (
        Trainee("generator", model, losses.generator, optimizer),
        Trainee("discriminator", discriminator, losses.discriminator, optimizer),
    )


def phase_data(recipe: AutoencoderRecipe, index: int, compression: int) -> TrainingData[PixelBatch]:
    """Pictures of a phase; each phase has an order of its own."""
    phase = recipe.phases[index]
    demand = Demand(resolutions=(phase.resolution,), batch_size=phase.batch_size, seed=recipe.seed + index)
    return pixel_data(recipe.data, demand, multiple=compression, crop=phase.crop)


def quiet_residuals_(model: DCAutoencoder, weight: float = 0.1) -> None:
    """Start every residual branch small, so that the first steps train the space-to-channel shortcuts."""
    for name, module in model.named_modules():
        if isinstance(module, PixelRMSNorm) and not name.endswith("norm_out"):
            nn.init.constant_(module.weight, weight)


@torch.no_grad()
def with_measured_scale(model: DCAutoencoder, recipe: AutoencoderRecipe, device: str = "cpu") -> DCAutoencoder:
    """The same weights with ``scaling_factor = 1 / rms`` of the latents of 256 pictures, whole ones if need be again.

    The pictures are those of the last phase that trained the encoder, without its windows.
    """
    index = max(i for i, phase in enumerate(recipe.phases) if phase.trains_encoder)
    whole = replace(recipe, phases=(*recipe.phases[:index], replace(recipe.phases[index], crop=None)))
    squares = count = 0.0
    for pixels in _first_pictures(phase_data(whole, index, model.config.compression), NUM_SCALE_PICTURES):
        latent = model.encoder(pixels.to(device)).double()
        squares, count = squares + float(latent.square().sum()), count + latent.numel()
    model.config = replace(model.config, scaling_factor=(count / squares) ** 0.5)
    model.encoder.config = model.decoder.config = model.config
    return model


def _first_pictures(data: TrainingData[PixelBatch], num: int) -> Iterator[Tensor]:
    """Micro-batches ``(B, 3, H, W)`` from the start of the stream until there are ``num`` pictures."""
    number = seen = 0
    while seen < num:
        pixels = data.batch(number).pixels[: num - seen]
        number, seen = number + 1, seen + len(pixels)
        yield pixels


def save_autoencoder(model: DCAutoencoder, path: Path) -> None:
    """Weights and config in one file that loads without unpickling code."""
    with written_aside(path) as building:
        torch.save({"config": json.dumps(to_mapping(model.config)), "model": model.state_dict()}, building)


def load_autoencoder(path: Path) -> DCAutoencoder:
    """What ``save_autoencoder`` wrote, on the CPU wherever it was trained.

    Raises:
        CheckpointError: the file is missing, damaged or something else.
    """
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        config = from_mapping(DCAutoencoderConfig, json.loads(state["config"]))
        model = DCAutoencoder(config)
        model.load_state_dict(state["model"])
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no {path}; train it first, or name another autoencoder") from error
    except Exception as error:  # zip, unpickling, JSON, missing keys: whatever it is, it is not such a file
        reason = str(error).split("\n", 1)[0]
        raise CheckpointError(f"{path} is not an autoencoder.pt as a run writes it ({reason})") from error
    return model


def load_any_autoencoder(source: str, *, device: str = "cpu") -> DCAutoencoder:
    """A run's ``autoencoder.pt``, or the autoencoder of a model folder, file, hub id or the starter, in float32."""
    if Path(source).suffix == ".pt":
        return load_autoencoder(Path(source)).to(device)
    return load_network(find_autoencoder(source), dtype=torch.float32, device=device)
