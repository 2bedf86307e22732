"""Many solvers, one network call per round: the branches of every picture become rows of one batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sanakit.models.transformers.condition import Condition
from sanakit.models.transformers.linear_dit import LinearDiT
from sanakit.sampling.guidance import Branch, Guidance
from sanakit.sampling.solvers import Evaluation, Solver

OnPictureStep = Callable[[int, Evaluation, Tensor], None]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PictureJob:
    """A picture on its way: its solver, its guidance, and the condition, of one row, of each branch."""

    solver: Solver
    guidance: Guidance
    conditions: Mapping[Branch, Condition]


def denoise(transformer: LinearDiT, jobs: Sequence[PictureJob], on_step: OnPictureStep) -> list[Tensor]:
    """Run all jobs to their end and return their latents ``(1, C, h, w)``; jobs may differ in steps and guidance.

    Args:
        transformer: the network; latents are cast to its dtype and velocities back to float32.
        jobs: of one latent size.
        on_step: called with the job's number, its evaluation and the clean latent that the step implies.
    """
    rows = ConditionRows()
    finished: dict[int, Tensor] = {}
    wishes = {number: next(job.solver) for number, job in enumerate(jobs)}
    while wishes:
        velocities = guided_velocities(transformer, [(jobs[n], wish) for n, wish in wishes.items()], rows)
        for (number, wish), velocity in zip(list(wishes.items()), velocities, strict=True):
            on_step(number, wish, wish.latent - wish.sigma * velocity)
            try:
                wishes[number] = jobs[number].solver.send(velocity)
            except StopIteration as end:
                finished[number] = end.value
                del wishes[number]
    return [finished[number] for number in range(len(jobs))]


def guided_velocities(
    transformer: LinearDiT, wishes: Sequence[tuple[PictureJob, Evaluation]], rows: ConditionRows
) -> list[Tensor]:
    """One velocity ``(1, C, h, w)`` float32 per wish, from one call of the network."""
    branches = [job.guidance.branches(wish.sigma) for job, wish in wishes]
    flat = [(job, wish, branch) for (job, wish), own in zip(wishes, branches, strict=True) for branch in own]
    weight = transformer.patch_embed.weight
    velocity = transformer(
        torch.cat([wish.latent for _, wish, _ in flat]).to(weight.device, weight.dtype),
        torch.tensor([wish.timestep for _, wish, _ in flat], device=weight.device),
        rows.of([job.conditions[branch] for job, _, branch in flat]),
    ).float()  # (rows, C, h, w)
    parts = iter(velocity.split(1))
    return [
        job.guidance.combine({branch: next(parts) for branch in own}, wish.sigma)
        for (job, wish), own in zip(wishes, branches, strict=True)
    ]


class ConditionRows:
    """The condition of a batch of rows, put together anew only when the rows change, which most steps do not."""

    def __init__(self) -> None:
        self._parts: list[Condition] = []
        self._whole: Condition | None = None

    def of(self, parts: list[Condition]) -> Condition:
        same = len(parts) == len(self._parts) and all(a is b for a, b in zip(parts, self._parts, strict=True))
        if self._whole is None or not same:
            self._parts, self._whole = parts, Condition.cat(parts)
        return self._whole
