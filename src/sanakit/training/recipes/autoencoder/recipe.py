"""Training an autoencoder in stages: a new one or from given weights, on the starter's scenes or a user's pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from sanakit.checkpoints.diffusers_layout import save_network
from sanakit.checkpoints.networks.kinds import kind_of_network
from sanakit.checkpoints.networks.strict_load import load_network
from sanakit.checkpoints.sources.complete import find_trainable_autoencoder
from sanakit.checkpoints.sources.content_hashes import hash_network
from sanakit.common.config import from_mapping, to_mapping
from sanakit.common.errors import ConfigError, RequestError
from sanakit.features.batches import PixelBatch, TrainingData
from sanakit.features.configs import PixelDataConfig, ScenePictures
from sanakit.features.identity import OnIdentity, any_identity, named_data
from sanakit.features.open import pixel_data
from sanakit.features.work import Demand
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.autoencoders.dc_ae_clips import (
    DCClipAutoencoder,
    DCClipAutoencoderConfig,
    TimeConfig,
    clips_of_pictures,
)
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig
from sanakit.training.loop import RunResult
from sanakit.training.memory.step_memory import Workload
from sanakit.training.objectives.perceptual import Perceptual, PerceptualConfig, build_perceptual
from sanakit.training.objectives.reconstruction import PixelAutoencoder, reconstruction_loss
from sanakit.training.optimizers.config import AdamWConfig, OptimizerConfig
from sanakit.training.recipes.autoencoder.clip_report import report_clips
from sanakit.training.recipes.autoencoder.plan import StageNetworks, pixel_loss
from sanakit.training.recipes.autoencoder.report import report_autoencoder
from sanakit.training.recipes.autoencoder.stage import (
    AdversarialLosses,
    AutoencoderStage,
    CountedDiscriminator,
    set_trainable,
)
from sanakit.training.recipes.autoencoder.weights import measure_scale_, new_autoencoder
from sanakit.training.recipes.recipe import Recipe, Run
from sanakit.training.run.continuing import INIT
from sanakit.training.run.session import Session
from sanakit.training.saving.bundle import Bundle
from sanakit.training.step.feeds import Prefetched
from sanakit.training.step.trainee import CheckData, Made, PlannedStage, Stage, Trainee

NUM_SCALE_PICTURES = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class AutoencoderRecipe(Recipe):
    """What is trained, on which pictures; the random draws follow from ``seed``."""

    type: Literal["autoencoder"] = "autoencoder"
    init: str | None = None  # weights to begin with: starter, a model folder, a file, a hub id ...
    model: DCAutoencoderConfig | None = None  # ... or a new network; exactly one of the two
    time: TimeConfig | None = None  # the autoencoder of pictures of init becomes the frames' of one of clips
    data: PixelDataConfig = field(default_factory=lambda: ScenePictures(bank="tiny"))
    perceptual: PerceptualConfig = field(default_factory=PerceptualConfig)
    optimizer: OptimizerConfig = field(default_factory=AdamWConfig)
    stages: tuple[AutoencoderStage, ...]

    def __post_init__(self) -> None:
        Recipe.__post_init__(self)
        if self.time is not None and self.init is None:
            raise ConfigError("time: is put around the autoencoder of init:, which a run with model: makes first")
        if self.model is not None:
            self.check_sizes(self.model)

    @property
    def only_whole(self) -> str:
        return "a stage that has a gan" if any(stage.gan for stage in self.stages) else ""

    def check_sizes(self, model: DCAutoencoderConfig | DCClipAutoencoderConfig) -> None:
        """The pictures of every stage must split into latents."""
        for stage in self.stages:
            size = stage.crop or stage.resolution
            if size % model.compression:
                raise ConfigError(f"stage {stage.name}: {size} px is no multiple of {model.compression}")
            if (stage.frames - 1) % model.temporal_compression:
                raise ConfigError(
                    f"stage {stage.name}: frames={stage.frames} must be 1 more than a multiple of "
                    f"{model.temporal_compression}"
                )
            if (stage.frames == 1) == isinstance(model, DCClipAutoencoderConfig):
                raise ConfigError(f"stage {stage.name}: frames={stage.frames} is not what this autoencoder learns from")

    def workloads(self, device: str) -> list[Workload]:
        perceptual = self.build_perceptual("cpu")
        config = self.begun_config()
        self.check_sizes(config)
        works = []
        for stage in self.stages:
            with torch.device("meta"):
                model = build_autoencoder(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            set_trainable(model, stage.trainable)
            networks, optimizer = StageNetworks(model, stage, perceptual), stage.optimizer or self.optimizer
            frames = None if stage.frames == 1 else stage.frames
            loss = pixel_loss(lambda net, pixels: net(pixels), size=stage.crop or stage.resolution, frames=frames)
            works.append(Workload(name=stage.name, model=networks, loss=loss, optimizer=optimizer, device=device))
        return works

    def start(self, session: Session) -> Run:
        model = self.build_model(session.device)
        self.check_sizes(model.config)
        perceptual = self.build_perceptual(session.device)
        stages = [
            PlannedStage(stage, partial(_build_stage, self, index, model, perceptual, session.device))
            for index, stage in enumerate(self.stages)
        ]
        return Run(stages=stages, finish=partial(_finish, self, model.config, session))

    def begun_config(self) -> DCAutoencoderConfig | DCClipAutoencoderConfig:
        """Of the network before the first step."""
        config = self.model or find_trainable_autoencoder(str(self.init)).config
        if self.time is None or not isinstance(config, DCAutoencoderConfig):
            return config
        return DCClipAutoencoderConfig(picture=config, time=self.time)

    def build_model(self, device: str) -> PixelAutoencoder:
        """The network before the first step, float32, channels last."""
        if self.init is not None:
            found = find_trainable_autoencoder(self.init)
            found.refuse_quantized("training")
            model: PixelAutoencoder = load_network(found, dtype=torch.float32, device=device)
            if self.time is not None and isinstance(model, DCAutoencoder):
                model = clips_of_pictures(model, self.time, self.seed)
        else:
            assert self.model is not None
            model = new_autoencoder(self.model, self.seed)
        return model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def build_perceptual(self, device: str) -> Perceptual | None:
        """The distance of the recipe, if one of the stages weighs it."""
        if any(stage.objective.perceptual_weight for stage in self.stages):
            return build_perceptual(self.perceptual, device=device)
        return None

    def replayed(self, bundle: Bundle) -> tuple[Trainee, Any]:
        stage = self.stages[bundle.stage]
        if stage.gan is not None:
            raise RequestError(f"stage {stage.name} trains against a discriminator, whose weights are not in a bundle")
        kind: type[Any] = DCClipAutoencoderConfig if "picture" in bundle.model else DCAutoencoderConfig
        model = build_autoencoder(from_mapping(kind, bundle.model)).to(bundle.device)
        [trainee] = build_trainees(self, bundle.stage, model, self.build_perceptual(bundle.device), bundle.device)
        return trainee, bundle.batch(PixelBatch)


def build_autoencoder(config: DCAutoencoderConfig | DCClipAutoencoderConfig) -> PixelAutoencoder:
    """With weights of no meaning yet."""
    return DCClipAutoencoder(config) if isinstance(config, DCClipAutoencoderConfig) else DCAutoencoder(config)


def _build_stage(
    recipe: AutoencoderRecipe,
    index: int,
    model: PixelAutoencoder,
    perceptual: Perceptual | None,
    device: str,
    check: CheckData,
) -> Stage:
    if recipe.init is not None:
        check(INIT, {"weights": hash_network(find_trainable_autoencoder(recipe.init))[:16]})
    stage = recipe.stages[index]
    before = recipe.stages[index - 1] if index else None
    set_trainable(model, stage.trainable)
    whose = named_data(recipe.data, "the recipe")
    data = stage_data(recipe, index, model.config.compression, partial(check, whose))
    same = before is not None and (before.trainable, before.optimizer) == (stage.trainable, stage.optimizer)
    trainees = build_trainees(recipe, index, model, perceptual, device)
    return Stage(stage, Prefetched(data), trainees, keep_optimizer=same and stage.gan is None)


def build_trainees(
    recipe: AutoencoderRecipe, index: int, model: PixelAutoencoder, perceptual: Perceptual | None, device: str
) -> tuple[Trainee, ...]:
    """The autoencoder, and in a stage with a gan its discriminator."""
    stage = recipe.stages[index]
    optimizer = stage.optimizer or recipe.optimizer
    if stage.gan is None:

        def loss(batch: PixelBatch, generator: torch.Generator, made: Made) -> Mapping[str, Tensor]:
            return reconstruction_loss(model, batch.pixels, generator, config=stage.objective, perceptual=perceptual)

        return (Trainee("generator", model, loss, optimizer),)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed + index)
        discriminator = CountedDiscriminator(stage.gan).to(device)
    losses = AdversarialLosses(model, stage, discriminator, perceptual)
    return (
        Trainee("generator", model, losses.generator, optimizer),
        Trainee("discriminator", discriminator, losses.discriminator, optimizer),
    )


def stage_data(
    recipe: AutoencoderRecipe, index: int, compression: int, on_identity: OnIdentity = any_identity
) -> TrainingData[PixelBatch]:
    """Pictures of a stage; each stage has an order of its own."""
    stage = recipe.stages[index]
    resolutions, seed = (stage.resolution,), recipe.seed + index
    demand = Demand(
        resolutions=resolutions,
        batch_size=stage.batch_size,
        seed=seed,
        on_identity=on_identity,
        frames=(stage.frames,),
        fps=(stage.fps,),
    )
    return pixel_data(recipe.data, demand, multiple=compression, crop=stage.crop)


def _finish(
    recipe: AutoencoderRecipe,
    config: DCAutoencoderConfig | DCClipAutoencoderConfig,
    session: Session,
    result: RunResult,
) -> None:
    """Write the averaged weights as ``model/``, with the scale of what the encoder has become, and a report."""
    model = build_autoencoder(config)
    model.load_state_dict(dict(result.weights))
    model.to(session.device).eval().requires_grad_(False)
    if isinstance(model, DCAutoencoder) and any(stage.trains_encoder for stage in recipe.stages):
        measure_scale_(model, (pixels.to(session.device) for pixels in scale_pictures(recipe, config.compression)))
    save_network(kind_of_network(model), model, session.folder / "model", force=True)
    resolution, place = recipe.stages[-1].resolution, session.folder
    if isinstance(model, DCClipAutoencoder):
        last = partial(stage_data, recipe, len(recipe.stages) - 1, config.compression)
        report_clips(model, to_mapping(recipe), place, data=last, device=session.device)
        return
    report_autoencoder(model, to_mapping(recipe), place, data=recipe.data, resolution=resolution, device=session.device)


def scale_pictures(recipe: AutoencoderRecipe, compression: int) -> Iterator[Tensor]:
    """The first 256 pictures of the last stage that trains the encoder, whole ones, again if there are fewer."""
    index = max(i for i, stage in enumerate(recipe.stages) if stage.trains_encoder)
    whole = replace(recipe, stages=(*recipe.stages[:index], replace(recipe.stages[index], crop=None)))
    data, number, left = stage_data(whole, index, compression), 0, NUM_SCALE_PICTURES
    while left > 0:
        pixels = data.batch(number).pixels[:left]
        number, left = number + 1, left - len(pixels)
        yield pixels
