"""A kind of training of our own: a line through points, as one new module and one entry of the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sanakit.training.loop import RunResult
from sanakit.training.memory.step_memory import Workload
from sanakit.training.optimizers.config import AdamWConfig
from sanakit.training.recipes.recipe import Recipe, Run
from sanakit.training.run.session import Session
from sanakit.training.run.stage import StageConfig
from sanakit.training.saving.bundle import Bundle
from sanakit.training.step.feeds import Prefetched
from sanakit.training.step.trainee import CheckData, Made, PlannedStage, Stage, Trainee


@dataclass(frozen=True, slots=True)
class Points:
    x: Tensor

    def to(self, device: str) -> Points:
        return Points(self.x.to(device))


@dataclass(frozen=True, slots=True)
class PointData:
    """Points that never repeat."""

    batch_size: int
    num_batches: int | None = None

    def num_samples(self, number: int) -> int:
        return self.batch_size

    def batch(self, number: int) -> Points:
        return Points(torch.randn(self.batch_size, 1, generator=torch.Generator().manual_seed(number)))


@dataclass(frozen=True, kw_only=True, slots=True)
class ToyRecipe(Recipe):
    """A line of this slope."""

    type: Literal["toy"] = "toy"
    slope: float = 2.0

    def workloads(self, device: str) -> list[Workload]:
        def loss(model: nn.Module, batch_size: int, place: torch.device) -> Tensor:
            return model(torch.zeros(batch_size, 1, device=place)).square().mean()

        return [
            Workload(name=stage.name, model=nn.Linear(1, 1), loss=loss, optimizer=AdamWConfig(), device=device)
            for stage in self.stages
        ]

    def start(self, session: Session) -> Run:
        torch.manual_seed(self.seed)
        model = nn.Linear(1, 1)
        stages = [PlannedStage(stage, partial(self.stage, stage, model)) for stage in self.stages]
        return Run(stages=stages, finish=partial(finish, session.folder))

    def stage(self, config: StageConfig, model: nn.Module, check: CheckData) -> Stage:
        return Stage(config, Prefetched(PointData(config.batch_size)), (self.trainee(model),), keep_optimizer=True)

    def trainee(self, model: nn.Module) -> Trainee:
        def loss(batch: Points, generator: torch.Generator, made: Made) -> Mapping[str, Tensor]:
            return {"loss": (model(batch.x) - self.slope * batch.x).square().mean()}

        return Trainee("line", model, loss, AdamWConfig())

    def replayed(self, bundle: Bundle) -> tuple[Trainee, Any]:
        return self.trainee(nn.Linear(1, 1)), bundle.batch(Points)


def finish(folder: Path, result: RunResult) -> None:
    torch.save(dict(result.weights), folder / "line.pt")
