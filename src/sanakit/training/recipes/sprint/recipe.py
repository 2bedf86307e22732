"""Distilling a transformer for few steps, as SANA-Sprint (arXiv:2503.09641), by continuous-time consistency alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sanakit.checkpoints.identity.precision import PrecisionPolicy
from sanakit.common.config import to_mapping
from sanakit.common.errors import ConfigError, RequestError
from sanakit.features.batches import LatentBatch
from sanakit.features.configs import LatentDataConfig
from sanakit.features.open import latent_data
from sanakit.layers.embeddings import ScalarEmbedding
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.condition import Condition
from sanakit.models.transformers.linear_dit import LinearDiT
from sanakit.sampling.trigflow import trigflow
from sanakit.training.loop import RunResult
from sanakit.training.objectives.consistency import ConsistencyConfig, scm_loss, weighted_error
from sanakit.training.optimizers.config import AdamWConfig, OptimizerConfig
from sanakit.training.recipes.recipe import Run
from sanakit.training.recipes.transformer.export import export_model, words_after
from sanakit.training.recipes.transformer.plan import begun_policy
from sanakit.training.recipes.transformer.recipe import TransformerStage, demand_of
from sanakit.training.recipes.transformer.report import report_transformer
from sanakit.training.recipes.transformer.samples import SamplePainter
from sanakit.training.recipes.transformer.starting_model import NetworkRecipe, StartingModel, starting_model
from sanakit.training.run.continuing import INIT
from sanakit.training.run.session import Session
from sanakit.training.saving.bundle import Bundle
from sanakit.training.step.feeds import Prefetched
from sanakit.training.step.trainee import CheckData, Made, PlannedStage, Stage, Trainee

DENSE_TIME = 0.001  # timestep_scale of a network that is told the noise level itself


@dataclass(frozen=True, kw_only=True, slots=True)
class SprintRecipe(NetworkRecipe):
    """The teacher is ``init``, the student begins as its copy that also reads the guidance scale."""

    type: Literal["sprint"] = "sprint"
    data: LatentDataConfig
    objective: ConsistencyConfig = field(default_factory=ConsistencyConfig)
    guidance_scales: tuple[float, ...] = (4.0, 4.5, 5.0)  # of the teacher, one of them a sample; the student is told it
    optimizer: OptimizerConfig = field(default_factory=AdamWConfig)
    stages: tuple[TransformerStage, ...]

    def __post_init__(self) -> None:
        NetworkRecipe.__post_init__(self)
        if self.init is None or self.growth is not None or self.standardise_text:
            raise ConfigError("a sprint recipe distils init: as it is; leave model:, growth: and standardise_text: out")
        if self.compile is not False:
            raise ConfigError(f"compile: {self.compile} knows no forward mode, which the tangent is computed in")
        if not self.guidance_scales or min(self.guidance_scales) < 0:
            raise ConfigError(f"guidance_scales={list(self.guidance_scales)} must be numbers from 0 up")

    @property
    def only_whole(self) -> str:
        return "a teacher and the forward mode of its student"

    def begun_policy(self) -> PrecisionPolicy | None:
        return begun_policy(self)

    def start(self, session: Session) -> Run:
        begun = starting_model(self, session.device)
        distillation = self.distillation(begun.transformer)
        defaults = begun.card.defaults.of_few_steps()
        card = replace(begun.card, family="sana-sprint", distilled=True, defaults=defaults)
        start = replace(begun, transformer=distillation.student, card=card)
        painter = SamplePainter(self.samples, start, device=session.device)
        stages = [
            PlannedStage(config, partial(_build_stage, distillation, config, start, painter, session))
            for config in self.stages
        ]
        return Run(stages=stages, finish=partial(_finish, self, start, session.folder), draw_samples=painter.draw)

    def distillation(self, teacher: LinearDiT) -> Distillation:
        """From the weights of the teacher, and of the seed."""
        torch.manual_seed(self.seed)
        teacher.eval().requires_grad_(False)
        weights = LevelWeights(teacher.config.hidden_size).to(teacher.device)
        return Distillation(teacher, student_of(teacher), weights, self)

    def replayed(self, bundle: Bundle) -> tuple[Trainee, Any]:
        if bundle.facts["trainee"] != "student":
            raise RequestError("a step of the weights of noise levels follows from its student's; replay that")
        constants = bundle.constants
        distillation = self.distillation(starting_model(self, bundle.device).transformer)
        null = TextCondition(constants["null.embeds"], constants["null.mask"])
        return distillation.trainees(null)[0], bundle.batch(LatentBatch)


def student_of(teacher: LinearDiT) -> LinearDiT:
    """A copy with a guidance embedding that adds nothing yet, so that it is its teacher whatever scale it is told.

    Raises:
        ConfigError: the teacher has one itself, or is told 1000 times the noise level.
    """
    config = teacher.config
    if config.timestep_scale != DENSE_TIME:
        raise ConfigError(
            f"the teacher's timestep_scale is {config.timestep_scale:g}: 1000 times the noise level blows the tangent "
            f"up, so train it with {DENSE_TIME} and norms of queries and keys first"
        )
    with torch.device(teacher.device):
        student = LinearDiT(replace(config, guidance_embeds=True))
    assert student.guidance_embed is not None
    nn.init.zeros_(student.guidance_embed.linear_2.weight)
    nn.init.zeros_(student.guidance_embed.linear_2.bias)
    own = {name: tensor for name, tensor in student.state_dict().items() if name.startswith("guidance_embed.")}
    student.load_state_dict({**teacher.state_dict(), **own})
    return student.train()


class LevelWeights(nn.Module):
    """How much a noise level counts, learned: the logarithm of the error's variance at it, 0 before training."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.embed, self.out = ScalarEmbedding(hidden_size), nn.Linear(hidden_size, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, angle: Tensor) -> Tensor:
        """Angles ``(B,)`` to ``(B,)``."""
        return self.out(self.embed(angle.sin() / (angle.sin() + angle.cos())).float()).squeeze(-1)


@dataclass(frozen=True, slots=True)
class Distillation:
    """Who takes part in it; trained are the student and the weights of levels, one after the other."""

    teacher: LinearDiT
    student: LinearDiT
    weights: LevelWeights
    recipe: SprintRecipe

    def trainees(self, null: TextCondition) -> tuple[Trainee, Trainee]:
        """``null`` is the text that guidance leads away from, one row."""
        constants, optimizer = {"null.embeds": null.embeds, "null.mask": null.mask}, self.recipe.optimizer
        return (
            Trainee("student", self.student, partial(self.consistency, null), optimizer, constants),
            Trainee("weights", self.weights, self.weighting, AdamWConfig()),
        )

    def consistency(
        self, null: TextCondition, batch: LatentBatch, generator: torch.Generator, made: Made
    ) -> Mapping[str, Tensor]:
        """One step of the student is to end where the guided teacher's path does."""
        device, num = batch.latent.device, len(batch.latent)
        scales = torch.tensor(self.recipe.guidance_scales)
        scale = scales[torch.randint(len(scales), (num,), generator=generator)].to(device)
        told = replace(self.student.prepare(batch.text), guidance=scale)
        with torch.no_grad():
            empty = TextCondition(*(part.to(device).expand(num, *part.shape[1:]) for part in (null.embeds, null.mask)))
            both = Condition.cat([self.teacher.prepare(empty), self.teacher.prepare(batch.text)])

        def guided(latent: Tensor, sigma: Tensor) -> Tensor:
            rows = self.teacher(torch.cat([latent, latent]), 1000 * torch.cat([sigma, sigma]), both).float()
            without, with_text = rows.chunk(2)
            return without + scale.reshape(-1, 1, 1, 1) * (with_text - without)

        def followed(latent: Tensor, sigma: Tensor) -> Tensor:
            return self.student(latent, 1000 * sigma, told).float()

        def kept_weights(angle: Tensor) -> Tensor:
            with torch.no_grad():
                return self.weights(angle)

        terms = scm_loss(
            trigflow(followed), trigflow(guided), kept_weights, batch.latent, generator,
            config=self.recipe.objective, step=int(made["step"]),
        )  # fmt: skip
        made["angle"], made["error"] = terms["angle"], terms["error"].detach()
        sigma = terms["angle"].sin() / (terms["angle"].sin() + terms["angle"].cos())
        return {
            "loss": terms["loss"],
            "tangent": terms["tangent"].mean(),
            "per_sample": terms["tangent"],
            "sigma": sigma,
        }

    def weighting(self, batch: LatentBatch, generator: torch.Generator, made: Made) -> Mapping[str, Tensor]:
        """The same loss for the weights, of what the student has just made."""
        return {"loss": weighted_error(made["error"], made["angle"], self.weights(made["angle"]))}


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
