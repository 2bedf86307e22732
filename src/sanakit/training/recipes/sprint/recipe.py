"""Distilling a transformer for few steps, as SANA-Sprint (arXiv:2503.09641): consistency, and a judge of latents."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from sanakit.checkpoints.identity.precision import PrecisionPolicy
from sanakit.common.config import to_mapping
from sanakit.common.errors import RequestError
from sanakit.features.batches import LatentBatch
from sanakit.features.open import latent_data
from sanakit.models.text.text_condition import TextCondition
from sanakit.training.loop import RunResult
from sanakit.training.recipes.recipe import Run
from sanakit.training.recipes.sprint.distillation import Distillation
from sanakit.training.recipes.sprint.settings import SprintSettings
from sanakit.training.recipes.transformer.export import export_model, words_after
from sanakit.training.recipes.transformer.plan import begun_policy
from sanakit.training.recipes.transformer.recipe import TransformerStage, demand_of
from sanakit.training.recipes.transformer.report import report_transformer
from sanakit.training.recipes.transformer.samples import SamplePainter
from sanakit.training.recipes.transformer.starting_model import StartingModel, starting_model
from sanakit.training.run.continuing import INIT
from sanakit.training.run.session import Session
from sanakit.training.saving.bundle import Bundle
from sanakit.training.step.feeds import Prefetched
from sanakit.training.step.trainee import CheckData, PlannedStage, Stage, Trainee


@dataclass(frozen=True, kw_only=True, slots=True)
class SprintRecipe(SprintSettings):
    """A run of such settings."""

    @property
    def only_whole(self) -> str:
        return "a teacher and the forward mode of its student"

    def begun_policy(self) -> PrecisionPolicy | None:
        return begun_policy(self)

    def start(self, session: Session) -> Run:
        begun = starting_model(self, session.device)
        distillation = Distillation(begun.transformer, self)
        defaults = begun.card.defaults.of_few_steps()
        card = replace(begun.card, family="sana-sprint", distilled=True, defaults=defaults)
        start = replace(begun, transformer=distillation.student, card=card)
        painter = SamplePainter(self.samples, start, device=session.device)
        stages = [
            PlannedStage(config, partial(_build_stage, distillation, config, start, painter, session))
            for config in self.stages
        ]
        return Run(stages=stages, finish=partial(_finish, self, start, session.folder), draw_samples=painter.draw)

    def replayed(self, bundle: Bundle) -> tuple[Trainee, Any]:
        name, constants = bundle.facts["trainee"], bundle.constants
        if name == "weights":
            raise RequestError("a step of the weights of noise levels follows from its student's; replay that")
        distillation = Distillation(starting_model(self, bundle.device).transformer, self)
        null = TextCondition(constants["null.embeds"], constants["null.mask"])
        found = distillation.trainees(null)
        networks = {"student.teacher": distillation.teacher, **{trainee.name: trainee.model for trainee in found}}
        for other, network in networks.items():
            if other != name:
                network.load_state_dict(bundle.weights_of(other))
        return next(trainee for trainee in found if trainee.name == name), bundle.batch(LatentBatch)


def _build_stage(
    distillation: Distillation,
    config: TransformerStage,
    start: StartingModel,
    painter: SamplePainter,
    session: Session,
    check: CheckData,
) -> Stage:
    check(INIT, {"weights": start.given[:16]})
    with start.encoders.loaded() as encoders:
        chosen, demand, work = demand_of(distillation.recipe, config, encoders, session, check)
        data, null = latent_data(chosen, demand, work), encoders.text.encode_null()
    painter.begin(max(config.resolutions), start.card.defaults.flow_shift)
    return Stage(config, Prefetched(data), distillation.trainees(null), keep_optimizer=True)


def _finish(recipe: SprintRecipe, start: StartingModel, folder: Path, result: RunResult) -> None:
    """Write the averaged student as ``folder / "model"``, and a report."""
    card = start.card_for(max(recipe.stages[-1].resolutions), start.card.defaults.flow_shift)
    bundle = export_model(result.weights, start, card, words_after(recipe.data, start), folder / "model")
    report_transformer(bundle, to_mapping(recipe), folder, prompts=recipe.samples.prompts, run=result, tested={})
