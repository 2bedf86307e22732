"""Training a transformer by flow matching: a new one or from given weights, on cached or fresh features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from sanakit.adapters.adapter import Adapter
from sanakit.adapters.new import AdapterConfig
from sanakit.checkpoints.adapters.places import Layers
from sanakit.checkpoints.bundle import ModelBundle
from sanakit.checkpoints.identity.card import ModelCard, VideoDefaults
from sanakit.checkpoints.identity.precision import PrecisionPolicy
from sanakit.checkpoints.networks.linear_dit import LINEAR_DIT
from sanakit.common.config import to_mapping
from sanakit.common.errors import ConfigError, RequestError
from sanakit.common.paths import as_path
from sanakit.features.batches import ControlBatch, LatentBatch, TrainingData
from sanakit.features.configs import DreamBoothData, FilesData, LatentDataConfig, ScenesData, ThingData
from sanakit.features.contrasts import contrasts
from sanakit.features.encoders import Encoders
from sanakit.features.identity import identity_of_encoders, named_data
from sanakit.features.open import controlled_data, latent_data
from sanakit.features.work import Demand, Work
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.controlnet import ControlNet
from sanakit.models.transformers.linear_dit import LinearDiT
from sanakit.models.transformers.video_dit import VideoDiTConfig
from sanakit.training.loop import RunResult
from sanakit.training.memory.step_memory import Workload
from sanakit.training.objectives.flow_matching import FlowMatchingConfig, drop_captions, flow_matching_loss
from sanakit.training.optimizers.config import AdamWConfig, OptimizerConfig
from sanakit.training.recipes.recipe import Run
from sanakit.training.recipes.transformer.control import ControlConfig, export_controlnet
from sanakit.training.recipes.transformer.export import export_adapter, export_model, words_after
from sanakit.training.recipes.transformer.networks import (
    TransformerConfig,
    build_transformer,
    draw_given_frames,
    network_of_mapping,
    patch_of,
    with_given_frames,
)
from sanakit.training.recipes.transformer.plan import (
    begun_policy,
    latent_loss,
    meta_adapter,
    meta_control,
    network_shape,
)
from sanakit.training.recipes.transformer.report import report_transformer
from sanakit.training.recipes.transformer.samples import SamplePainter, begun_painter
from sanakit.training.recipes.transformer.starting_model import NetworkRecipe, StartingModel, starting_model
from sanakit.training.run.continuing import INIT
from sanakit.training.run.session import Session
from sanakit.training.run.stage import StageConfig
from sanakit.training.saving.bundle import Bundle
from sanakit.training.step.feeds import Prefetched
from sanakit.training.step.standard_text import standardised
from sanakit.training.step.trainee import CheckData, Made, PlannedStage, Stage, Trainee
from sanakit.training.watching.caption_test import CaptionTest
from sanakit.worlds.telling.sheet_prompts import SHEET_PROMPTS


@dataclass(frozen=True, kw_only=True, slots=True)
class TransformerStage(StageConfig):
    """A stage with the size of its pictures in pixels; several sizes make one stream with bins of all of them. Of clips
    also their lengths in frames, of which 1 takes pictures in, and their rate."""

    resolutions: tuple[int, ...]
    frames: tuple[int, ...] = (1,)
    fps: tuple[float, ...] = (16.0,)  # frames a second; of several each clip has the highest that is not above its own
    flow_shift: float | None = None  # None: the objective's
    interpolation_scale: float | None = None  # of the network's positions in this stage; None: as the network has it
    data: LatentDataConfig | None = None  # None: the recipe's

    def __post_init__(self) -> None:
        StageConfig.__post_init__(self)
        if not self.resolutions or min(self.resolutions) < 1:
            raise ConfigError(f"stage {self.name}: resolutions={list(self.resolutions)} must be a list of sides in px")
        if not self.frames or min(self.frames) < 1 or not self.fps or not min(self.fps) > 0:
            raise ConfigError(f"stage {self.name}: frames={list(self.frames)}, fps={list(self.fps)} must be above 0")
        if self.flow_shift is not None and not self.flow_shift > 0:
            raise ConfigError(f"stage {self.name}: flow_shift={self.flow_shift} must be positive")

    @property
    def sides(self) -> tuple[int, ...]:
        return self.resolutions

    def network(self, config: TransformerConfig, compression: int) -> TransformerConfig:
        """The network in this stage: the same weights, where positions may be added for pictures of this size."""
        if self.interpolation_scale is None:
            return config
        if isinstance(config, VideoDiTConfig):
            raise ConfigError(f"stage {self.name}: interpolation_scale is of networks of pictures")
        side = max(self.resolutions) // compression
        return replace(config, interpolation_scale=self.interpolation_scale, sample_size=side)


class HasData(Protocol):
    """A recipe of latents."""

    @property
    def data(self) -> LatentDataConfig:
        """Of stages without their own."""

    @property
    def seed(self) -> int:
        """Of the run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TransformerRecipe(NetworkRecipe):
    """Where the network comes from, what it sees, how it learns."""

    type: Literal["transformer"] = "transformer"
    data: LatentDataConfig
    objective: FlowMatchingConfig = field(default_factory=FlowMatchingConfig)
    optimizer: OptimizerConfig = field(default_factory=AdamWConfig)
    stages: tuple[TransformerStage, ...]
    caption_dropout: float = 0.1  # share of captions that are emptied, for guidance
    given_first_frame: float = 0.2  # share of clips whose first frame is given, for image to video
    control: ControlConfig | None = None  # a ControlNet is trained beside the weights of init, which stay as they are

    def __post_init__(self) -> None:
        NetworkRecipe.__post_init__(self)
        if self.control is not None:
            others = (self.growth, self.adapter, self.standardise_text or None)
            if self.init is None or any(each is not None for each in others) or self.samples.prompts:
                raise ConfigError(
                    "control: is beside the weights of init: as they are, without growth, adapter, standardise_text "
                    "or samples.prompts"
                )
        for name in ("caption_dropout", "given_first_frame"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}={getattr(self, name)} must lie within [0, 1]")

    def flow_shift(self, stage: TransformerStage) -> float:
        return self.objective.flow_shift if stage.flow_shift is None else stage.flow_shift

    def begun_policy(self) -> PrecisionPolicy | None:
        return begun_policy(self)

    def workloads(self, device: str) -> list[Workload]:
        shape = network_shape(self)
        with torch.device("meta"):
            model: Any = build_transformer(shape.grown(self.growth))
            learner: nn.Module | None = None
            if self.adapter is not None:
                learner = meta_adapter(model, Layers.of(LINEAR_DIT, model.config), self.adapter)
            elif self.control is not None:
                learner = meta_control(model, self.control)
        works = []
        for stage in self.stages:
            side, frames = max(1, max(stage.resolutions) // shape.compression), shape.latent_frames(max(stage.frames))
            loss = latent_loss(side=side, frames=frames, num_tokens=shape.num_tokens)
            work = Workload(name=stage.name, model=model, loss=loss, optimizer=self.optimizer, device=device)
            works.append(replace(work, learner=learner))
        return works

    def start(self, session: Session) -> Run:
        _check_data(self.stages)
        start = self._starting_model(session.device)
        start.transformer.train()
        start.learner.train().requires_grad_(True)
        painter = SamplePainter(self.samples, start, device=session.device)
        watched = Watched(
            painter, CaptionTest(session) if self.log.captions is not None and self.control is None else None
        )
        stages = [
            PlannedStage(config, partial(_build_stage, self, config, start, watched, session)) for config in self.stages
        ]
        finish = partial(_finish, self, start, watched, session.folder)
        return Run(stages=stages, finish=finish, draw_samples=painter.draw)

    def _starting_model(self, device: str) -> StartingModel:
        """With the ControlNet beside it, if there is to be one."""
        start = starting_model(self, device)
        if self.control is None:
            return start
        start.transformer.requires_grad_(False)
        return replace(start, control=ControlNet.copied(start.transformer, self.control.blocks, self.control.topology))

    def replayed(self, bundle: Bundle) -> tuple[Trainee, Any]:
        stage, beside = self.stages[bundle.stage], None
        if self.adapter is None and self.control is None:
            network = network_of_mapping(bundle.model).to(bundle.device)
        else:
            start = self._starting_model(bundle.device)
            network, beside = start.transformer, start.adapter or start.control
        batch = bundle.batch(LatentBatch if self.control is None else ControlBatch)
        return build_trainee(self, stage, network, bundle.constants, beside), batch


@dataclass(frozen=True, slots=True)
class Watched:
    """What is looked at while a run goes on: pictures of its prompts, and right captions against wrong ones."""

    painter: SamplePainter
    captions: CaptionTest | None


def _check_data(stages: Sequence[TransformerStage]) -> None:
    """A folder that is not there is told now, not when its stage begins.

    Raises:
        RequestError: one is missing.
    """
    for stage in stages:
        match stage.data:
            case FilesData(path=path) | ThingData(path=path) | DreamBoothData(instance=path) if not as_path(
                path
            ).exists():
                raise RequestError(f"there is no {path}, the data of stage {stage.name}")


def _build_stage(
    recipe: TransformerRecipe,
    config: TransformerStage,
    start: StartingModel,
    watched: Watched,
    session: Session,
    check: CheckData,
) -> Stage:
    if start.given:
        check(INIT, {"weights": start.given[:16]})
    with start.encoders.loaded() as encoders:
        # the same weights: positions are computed from the config in every call, and the export has the last stage's
        start.transformer.config = config.network(start.transformer.config, encoders.compression)
        chosen, demand, work = demand_of(recipe, config, encoders, session, check)
        demand = replace(demand, patch=patch_of(start.transformer))
        work = replace(work, painter=begun_painter(start, encoders, session.device))
        if recipe.control is None:
            data: TrainingData[LatentBatch] = latent_data(chosen, demand, work)
        else:
            data = controlled_data(chosen, recipe.control.type, demand, work)
        null = encoders.text.encode_null()
        constants = {"null.embeds": null.embeds, "null.mask": null.mask, **_standard_text(recipe, start, data)}
        tests = contrasts(chosen, data, demand, work) if watched.captions is not None else []
    watched.painter.begin(card_of_stage(recipe, config, start))
    trainee = build_trainee(recipe, config, start.transformer, constants, start.adapter or start.control)
    if start.standard is not None:
        trainee = replace(trainee, companions={"text": start.standard})
    test = None
    if watched.captions is not None:
        watched.captions.begin(tests, replace(recipe.objective, flow_shift=recipe.flow_shift(config)))
        test = partial(watched.captions.run, start.transformer, start.standard)
    return Stage(config, Prefetched(data), (trainee,), keep_optimizer=True, test=test)


def demand_of(
    recipe: HasData, config: TransformerStage, encoders: Encoders, session: Session, check: CheckData
) -> tuple[LatentDataConfig, Demand, Work]:
    """The data of a stage, what it wants of that, and who makes its features."""
    chosen = config.data or recipe.data
    whose = named_data(chosen, "the recipe" if config.data is None else f"stage {config.name}")
    demand = Demand(
        resolutions=config.resolutions,
        frames=config.frames if isinstance(config, TransformerStage) else (1,),
        fps=config.fps if isinstance(config, TransformerStage) else (16.0,),
        batch_size=config.batch_size,
        seed=recipe.seed,
        on_identity=lambda found: check(whose, found | identity_of_encoders(encoders)),
    )
    told = session.watchers.on_caching
    return chosen, demand, Work(encoders=encoders, ranks=session.ranks, device=session.device, on_progress=told)


def card_of_stage(recipe: TransformerRecipe, stage: TransformerStage, start: StartingModel) -> ModelCard:
    """The card of a model as a stage leaves it. Scenes say in words what moves, and know no scores."""
    data = stage.data or recipe.data
    of_clips: dict[str, Any] = {"num_frames": max(stage.frames), "fps": round(max(stage.fps))}
    of_clips["shared_noise"] = recipe.objective.shared_noise
    if not (isinstance(data, FilesData) and data.motion_score):
        of_clips["motion_score"] = 0
    return start.card_for(max(stage.resolutions), recipe.flow_shift(stage), **of_clips)


def _standard_text(
    recipe: TransformerRecipe, start: StartingModel, data: TrainingData[LatentBatch]
) -> dict[str, Tensor]:
    """Mean and deviation of the text, from the data of the first stage of a sitting; a checkpoint's then replace them.

    Given weights are unfolded with them, so that they go on as the same network.
    """
    if start.standard is None:
        return {}
    if not start.standard.is_measured:
        start.standard.measure(data)
        if recipe.init is not None or recipe.from_pictures is not None:
            start.standard.unfold_(start.transformer)
    return {f"text.{name}": tensor for name, tensor in start.standard.state_dict().items()}


def _finish(recipe: TransformerRecipe, start: StartingModel, watched: Watched, folder: Path, result: RunResult) -> None:
    """Write the averaged weights as ``folder / "model"``, and a report."""
    card = card_of_stage(recipe, recipe.stages[-1], start)
    words = words_after(recipe.data, start)
    if recipe.control is not None:
        assert start.control is not None
        export_controlnet(result.weights, start.control, recipe.control, card, folder / "controlnet")
        title = replace(card, name=folder.name)
        encoders = start.encoders
        assert start.again is not None  # as a process may have only a part of its weights
        network = start.again().to(start.transformer.device)
        network.config = start.transformer.config
        bundle = ModelBundle(
            transformer=network, autoencoder=encoders.autoencoder, text_encoder=encoders.text, card=title
        )
    elif recipe.adapter is None:
        bundle = export_model(result.weights, start, card, words, folder / "model")
    else:
        bundle = export_adapter(result.weights, start, _tagged(recipe.adapter, recipe.data), card, folder / "adapter")
    of_clips = isinstance(card.defaults, VideoDefaults)
    starter = (
        isinstance(recipe.data, ScenesData) and not of_clips and not recipe.samples.prompts and recipe.control is None
    )
    prompts = SHEET_PROMPTS if starter else recipe.samples.prompts
    tested = watched.captions.run_alone(bundle.transformer) if watched.captions is not None else {}
    report_transformer(bundle, to_mapping(recipe), folder, prompts=prompts, run=result, tested=tested)


def _tagged(adapter: AdapterConfig, data: LatentDataConfig) -> AdapterConfig:
    """With the word that the data has, where the recipe names no other."""
    return replace(adapter, trigger=data.word) if isinstance(data, ThingData) and not adapter.trigger else adapter


def build_trainee(
    recipe: TransformerRecipe,
    stage: TransformerStage,
    model: LinearDiT | Any,
    constants: Mapping[str, Tensor],
    beside: Adapter | ControlNet | None = None,
) -> Trainee:
    """The network, or the adapter that it carries or the ControlNet beside it, with its objective in a stage.

    Args:
        recipe, stage: what is learned.
        model: the network.
        constants: the null text, ``null.embeds (1, L, C)`` and ``null.mask (1, L)``, and ``text.mean`` and
            ``text.deviation (C,)`` where the text is standardised, as a bundle of the guard keeps them.
        beside: what is trained in its place.
    """
    objective = replace(recipe.objective, flow_shift=recipe.flow_shift(stage))
    null = TextCondition(constants["null.embeds"], constants["null.mask"])

    def loss(batch: Any, generator: torch.Generator, made: Made) -> Mapping[str, Tensor]:
        device = batch.latent.device
        empty = TextCondition(null.embeds.to(device), null.mask.to(device))
        text = drop_captions(batch.text, empty, generator, recipe.caption_dropout)
        if "text.mean" in constants:
            text = standardised(text, constants["text.mean"], constants["text.deviation"])
        prepared = model.prepare(text)
        if isinstance(beside, ControlNet):
            prepared = replace(prepared, controls=(beside.prepare(text, batch.control, model),))
        clean = draw_given_frames(batch.latent, generator, recipe.given_first_frame)
        prepared = with_given_frames(prepared, clean)
        return flow_matching_loss(
            lambda noisy, timestep: model(noisy, timestep, prepared),
            batch.latent,
            generator,
            config=objective,
            clean=clean,
        )

    if beside is not None:
        name = "adapter" if isinstance(beside, Adapter) else "controlnet"
        return Trainee(name, beside, loss, recipe.optimizer, constants, around=(model,))
    return Trainee("transformer", model, loss, recipe.optimizer, constants)
