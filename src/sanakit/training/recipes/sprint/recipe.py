"""Distilling a transformer for few steps, as SANA-Sprint (arXiv:2503.09641).

Its teacher is adapted, then a student learns from it by consistency and against a judge of latents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from sanakit.checkpoints.identity.precision import PrecisionPolicy
from sanakit.common.config import to_mapping
from sanakit.common.errors import ConfigError, RequestError
from sanakit.features.batches import LatentBatch, TrainingData
from sanakit.features.open import latent_data
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig
from sanakit.training.loop import RunResult
from sanakit.training.memory.step_memory import Workload
from sanakit.training.recipes.recipe import Run
from sanakit.training.recipes.sprint.adaptation import DENSE_TIME, Adaptation, adapted
from sanakit.training.recipes.sprint.distillation import Distillation
from sanakit.training.recipes.sprint.plan import sprint_workloads
from sanakit.training.recipes.sprint.report import report_sprint
from sanakit.training.recipes.sprint.settings import SprintSettings, SprintStage
from sanakit.training.recipes.transformer.export import export_model, words_after
from sanakit.training.recipes.transformer.plan import begun_policy
from sanakit.training.recipes.transformer.recipe import demand_of
from sanakit.training.recipes.transformer.report import report_transformer
from sanakit.training.recipes.transformer.samples import SamplePainter
from sanakit.training.recipes.transformer.starting_model import StartingModel, starting_model
from sanakit.training.run.continuing import INIT
from sanakit.training.run.session import Session
from sanakit.training.saving.bundle import Bundle
from sanakit.training.step.feeds import Prefetched
from sanakit.training.step.parallel import whole_state
from sanakit.training.step.trainee import CheckData, PlannedStage, Stage, Trainee


@dataclass(frozen=True, kw_only=True, slots=True)
class SprintRecipe(SprintSettings):
    """A run of such settings."""

    def begun_policy(self) -> PrecisionPolicy | None:
        return begun_policy(self)

    def workloads(self, device: str) -> list[Workload]:
        return sprint_workloads(self, device)

    def start(self, session: Session) -> Run:
        run = Distilling(self, self._starting_model(session.device), session)
        stages = [PlannedStage(config, partial(run.build_stage, config)) for config in self.stages]
        return Run(stages=stages, finish=run.finish, draw_samples=run.draw)

    def replayed(self, bundle: Bundle) -> tuple[Trainee, Any]:
        name, constants = bundle.facts["trainee"], bundle.constants
        if name == "weights":
            raise RequestError("a step of the weights of noise levels follows from its student's; replay that")
        given = self._starting_model(bundle.device).transformer
        null = TextCondition(constants["null.embeds"], constants["null.mask"])
        if self.stages[bundle.stage].trains == "teacher":
            found: tuple[Trainee, ...] = (Adaptation(given, self.adaptation).trainee(null, self.optimizer),)
        else:
            found = Distillation(adapted(given) if self.adapts else given, self).trainees(null)
        for trainee in found:
            networks = {f"{trainee.name}.{each}": network for each, network in trainee.companions.items()}
            for other, network in ({trainee.name: trainee.model} | networks).items():
                if other != name:
                    network.load_state_dict(bundle.weights_of(other))
        return next(trainee for trainee in found if trainee.name == name), bundle.batch(LatentBatch)

    def _starting_model(self, device: str) -> StartingModel:
        """The teacher as it is; an adapter is the student's."""
        return starting_model(replace(self, adapter=None), device)


class Distilling:
    """A run: its networks, each made when its stage begins, and whose pictures are drawn.

    Raises:
        ConfigError: the teacher has a guidance embedding, or is told 1000 times the noise level and not adapted.
    """

    def __init__(self, recipe: SprintRecipe, begun: StartingModel, session: Session) -> None:
        self.recipe, self.begun, self.session = recipe, begun, session
        config = begun.transformer.config
        if not recipe.adapts and config.timestep_scale != DENSE_TIME:
            raise ConfigError(
                f"the teacher's timestep_scale is {config.timestep_scale:g}: 1000 times the noise level blows the "
                f"tangent up, so begin with a stage that has trains: teacher"
            )
        self.adaptation = Adaptation(begun.transformer, recipe.adaptation) if recipe.adapts else None
        self.distillation: Distillation | None = None
        teacher = self.adaptation.teacher.config if self.adaptation else config
        card, defaults = begun.card, begun.card.defaults.of_few_steps()
        distilled = replace(card, family="sana-sprint", distilled=True, defaults=defaults)
        self.starts = {
            "teacher": replace(begun, transformer=_shape(teacher)),
            "student": replace(begun, transformer=_shape(replace(teacher, guidance_embeds=True)), card=distilled),
        }
        samples = {
            "teacher": replace(recipe.samples, steps=card.defaults.num_inference_steps),
            "student": recipe.samples,
        }
        self.painters = {
            name: SamplePainter(samples[name], start, device=session.device) for name, start in self.starts.items()
        }
        self.trains = recipe.stages[-1].trains

    def build_stage(self, config: SprintStage, check: CheckData) -> Stage:
        check(INIT, {"weights": self.begun.given[:16]})
        with self.begun.encoders.loaded() as encoders:
            chosen, demand, work = demand_of(self.recipe, config, encoders, self.session, check)
            data, null = latent_data(chosen, demand, work), encoders.text.encode_null()
        self.trains = config.trains
        shift = self.begun.card.defaults.flow_shift
        self.painters[config.trains].begin(self.starts[config.trains].card_for(max(config.resolutions), shift))
        if config.trains == "teacher":
            return self._teacher_stage(config, data, null)
        trainees = self._begin_student().trainees(null)
        return Stage(config, Prefetched(data), trainees, keep_optimizer=True)

    def _teacher_stage(self, config: SprintStage, data: TrainingData[LatentBatch], null: TextCondition) -> Stage:
        adaptation = self.adaptation
        assert adaptation is not None
        trainee = adaptation.trainee(null, self.recipe.optimizer)
        is_last = config == [stage for stage in self.recipe.stages if stage.trains == "teacher"][-1]
        accept = partial(adaptation.accept, data, self.session) if is_last else None
        return Stage(config, Prefetched(data), (trainee,), keep_optimizer=True, accept=accept)

    def _begin_student(self) -> Distillation:
        """From the teacher as it is now; a checkpoint that is gone on from replaces both."""
        if self.distillation is None:
            teacher = self.begun.transformer
            if self.adaptation is not None:
                weights = whole_state(self.adaptation.teacher.state_dict())
                teacher, self.adaptation = LinearDiT(self.adaptation.teacher.config).to(self.session.device), None
                teacher.load_state_dict(weights)
                self.begun = replace(self.begun, transformer=self.starts["teacher"].transformer)  # no longer needed
            self.distillation = Distillation(teacher, self.recipe)
        return self.distillation

    def draw(self, weights: Mapping[str, Tensor], step: int) -> Image.Image:
        return self.painters[self.trains].draw(self._whole(weights), step)

    def _whole(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Weights of the network that a stage trains, for those that it learns."""
        return weights if self.distillation is None else self.distillation.whole_student(weights)

    def finish(self, result: RunResult) -> None:
        """Write the averaged student as ``model/``, or the teacher if that is all that was trained, and a report."""
        recipe, start, folder = self.recipe, self.starts[self.trains], self.session.folder
        card = start.card_for(max(recipe.stages[-1].resolutions), start.card.defaults.flow_shift)
        bundle = export_model(
            self._whole(result.weights), start, card, words_after(recipe.data, start), folder / "model"
        )
        if self.trains == "student":
            report_sprint(bundle, recipe, folder, run=result, on_progress=self.session.watchers.on_scoring)
            return
        report_transformer(bundle, to_mapping(recipe), folder, prompts=recipe.samples.prompts, run=result, tested={})


def _shape(config: LinearDiTConfig) -> LinearDiT:
    """A network without weights, which says what it is."""
    with torch.device("meta"):
        return LinearDiT(config)
