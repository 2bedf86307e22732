"""Training a transformer by flow matching: a new one or from given weights, on cached or fresh features."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from sanakit.common.config import from_mapping, to_mapping
from sanakit.common.errors import ConfigError
from sanakit.common.progress import OnProgress, no_progress
from sanakit.common.ranks import Ranks, process_group
from sanakit.features.batches import LatentBatch
from sanakit.features.configs import LatentDataConfig, StarterScenesData
from sanakit.features.open import latent_data
from sanakit.features.work import Demand, Work
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.text.text_encoder import TextEncoderConfig
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig
from sanakit.training.loop import Watchers, train
from sanakit.training.objectives.flow_matching import FlowMatchingConfig, drop_captions, flow_matching_loss
from sanakit.training.optimizers import AdamWConfig, OptimizerConfig
from sanakit.training.recipes.transformer.export import export_model
from sanakit.training.recipes.transformer.starting_model import StartingModel, new_starting_model, starting_model_of
from sanakit.training.run.run_config import RunConfig
from sanakit.training.run.stage import Loss, PlannedStage, Stage, StageConfig, Trainee
from sanakit.training.step.parallel import whole_state
from sanakit.training.watching.report import report_transformer
from sanakit.training.watching.samples import SamplePainter
from sanakit.worlds.scenes.prompts import SHEET_PROMPTS

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class TransformerStage(StageConfig):
    """A stage with the size of its pictures in pixels; several sizes make one stream with bins of all of them."""

    resolutions: tuple[int, ...]
    flow_shift: float | None = None  # None: the objective's

    def __post_init__(self) -> None:
        StageConfig.__post_init__(self)
        if not self.resolutions or min(self.resolutions) < 1:
            raise ConfigError(f"stage {self.name}: resolutions={list(self.resolutions)} must be a list of sides in px")
        if self.flow_shift is not None and not self.flow_shift > 0:
            raise ConfigError(f"stage {self.name}: flow_shift={self.flow_shift} must be positive")


@dataclass(frozen=True, kw_only=True, slots=True)
class TransformerRecipe(RunConfig):
    """Everything a run needs: where the network comes from, what it sees, how it learns."""

    type: Literal["transformer"] = "transformer"
    init: str | None = None  # weights to begin with: starter, a model folder, a file, a hub id ...
    model: LinearDiTConfig | None = None  # ... or a new network; exactly one of the two
    autoencoder: str | None = None  # starter, a model folder, autoencoder.pt of a run; None: that of init
    text_encoder: str | None = None  # of a new model: a folder or hub id; None: the starter's
    text: TextEncoderConfig | None = None  # None: as init has it
    data: LatentDataConfig
    objective: FlowMatchingConfig = field(default_factory=FlowMatchingConfig)
    optimizer: OptimizerConfig = field(default_factory=AdamWConfig)
    stages: tuple[TransformerStage, ...]
    caption_dropout: float = 0.1  # share of captions that are emptied, for guidance

    def __post_init__(self) -> None:
        RunConfig.__post_init__(self)
        if (self.init is None) == (self.model is None):
            raise ConfigError("a recipe needs init: (weights to begin with) or model: (a new network), one of the two")
        if self.init is not None and self.text_encoder is not None:
            raise ConfigError("text_encoder: belongs to a new model; with init: the model keeps its own")
        if not self.stages:
            raise ConfigError("a recipe needs at least one stage")
        if len({stage.name for stage in self.stages}) < len(self.stages):
            raise ConfigError(f"the stages need names of their own, not {[stage.name for stage in self.stages]}")
        if not 0 <= self.caption_dropout <= 1:
            raise ConfigError(f"caption_dropout={self.caption_dropout} must lie within [0, 1]")

    def flow_shift(self, stage: TransformerStage) -> float:
        return self.objective.flow_shift if stage.flow_shift is None else stage.flow_shift


def train_transformer(
    recipe: TransformerRecipe,
    folder: Path,
    *,
    device: str = "cpu",
    watchers: Watchers | None = None,
    on_progress: OnProgress = no_progress,
    sharded: bool = False,
) -> None:
    """Train, and write the averaged weights as ``folder / "model"``, with a report.

    Args:
        watchers: as of ``loop.train``; samples of the recipe's prompts are drawn here.
        on_progress: of the caching of features.
        sharded: keep a part of the network on each process, see ``planning.is_sharded``.
    """
    with process_group() as ranks:
        start = build_starting_model(recipe, device)
        model = start.transformer.train().requires_grad_(True)
        painter = SamplePainter(recipe.samples, start, device=device)
        stages = _plan(recipe, start, painter, ranks, device, on_progress)
        given = watchers or Watchers()
        result = train(
            stages,
            recipe,
            folder,
            ranks=ranks,
            device=device,
            sharded=sharded,
            watchers=Watchers(on_log=given.on_log, on_step=given.on_step, draw_samples=painter.draw),
        )
        weights = whole_state(model.state_dict())
        if ranks.is_first:
            last = recipe.stages[-1]
            bundle = export_model(
                weights,
                model.config,
                start,
                folder / "model",
                name=folder.name,
                resolution=max(last.resolutions),
                flow_shift=recipe.flow_shift(last),
            )
            starter = isinstance(recipe.data, StarterScenesData) and not recipe.samples.prompts
            prompts = SHEET_PROMPTS if starter else recipe.samples.prompts
            report_transformer(bundle, to_mapping(recipe), folder, prompts=prompts, run=result)


def build_starting_model(recipe: TransformerRecipe, device: str) -> StartingModel:
    """The network and what is around it."""
    if recipe.init is not None:
        return starting_model_of(recipe.init, autoencoder=recipe.autoencoder, text=recipe.text, device=device)
    assert recipe.model is not None
    return new_starting_model(
        recipe.model,
        seed=recipe.seed,
        autoencoder=recipe.autoencoder,
        text_encoder=recipe.text_encoder,
        text=recipe.text,
        device=device,
    )


def _plan(
    recipe: TransformerRecipe,
    start: StartingModel,
    painter: SamplePainter,
    ranks: Ranks,
    device: str,
    on_progress: OnProgress,
) -> Sequence[PlannedStage]:
    def build(config: TransformerStage) -> Stage:
        demand = Demand(resolutions=config.resolutions, batch_size=config.batch_size, seed=recipe.seed)
        with start.encoders.loaded() as encoders:
            work = Work(encoders=encoders, ranks=ranks, device=device, on_progress=on_progress)
            data = latent_data(recipe.data, demand, work)
            null = encoders.text.encode_null()
        painter.begin(max(config.resolutions), recipe.flow_shift(config))
        trainee = build_trainee(recipe, config, start.transformer, {"null.embeds": null.embeds, "null.mask": null.mask})
        return Stage(config, data, (trainee,), keep_optimizer=True)

    return [PlannedStage(config, lambda config=config: build(config)) for config in recipe.stages]  # type: ignore[misc]


def build_trainee(
    recipe: TransformerRecipe, stage: TransformerStage, model: LinearDiT, constants: Mapping[str, Tensor]
) -> Trainee:
    """The network with its objective in a stage.

    Args:
        constants: the null text, ``null.embeds (1, L, C)`` and ``null.mask (1, L)``, as a bundle of the guard keeps it.
    """
    objective = replace(recipe.objective, flow_shift=recipe.flow_shift(stage))
    null = TextCondition(constants["null.embeds"], constants["null.mask"])
    loss = _loss(model, objective, null, recipe.caption_dropout)
    return Trainee("transformer", model, loss, recipe.optimizer, constants)


def rebuild_trainee(
    recipe: TransformerRecipe, stage: int, constants: Mapping[str, Tensor], model: Mapping[str, object], device: str
) -> Trainee:
    """The trainee of stage number ``stage`` around a network of the config ``model``, for the replay of a bundle."""
    network = LinearDiT(from_mapping(LinearDiTConfig, model)).to(device)
    return build_trainee(recipe, recipe.stages[stage], network, constants)


def _loss(model: LinearDiT, objective: FlowMatchingConfig, null: TextCondition, dropout: float) -> Loss:
    def loss(batch: LatentBatch, generator: torch.Generator) -> Mapping[str, Tensor]:
        device = batch.latent.device
        empty = TextCondition(null.embeds.to(device), null.mask.to(device))
        text = drop_captions(batch.text, empty, generator, dropout)
        prepared = model.prepare(text)
        return flow_matching_loss(
            lambda noisy, timestep: model(noisy, timestep, prepared), batch.latent, generator, config=objective
        )

    return loss
