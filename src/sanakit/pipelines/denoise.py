"""Pictures that come and go: a round is one call of the network, whose rows are the branches of several pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Generic, TypeAlias, TypeVar

import torch
from torch import Tensor

from sanakit.common.errors import ConfigError
from sanakit.kernels.native.memory import reused_memory
from sanakit.layers.beside import told_by_row
from sanakit.models.transformers.compiled_step import Step
from sanakit.models.transformers.condition import Condition
from sanakit.models.transformers.linear_dit import LinearDiT
from sanakit.pipelines.editing.seamless import middle, wrap
from sanakit.sampling.evaluation import Evaluation, Solver
from sanakit.sampling.guidance import Branch, Guidance

MAX_ROWS = 16  # of a call on an accelerator: eight pictures with guidance
MAX_POSITIONS = 16 * 32 * 32  # of the latents of all rows: at 4K, one tensor of eight guided pictures would take 6 GB

KeyT = TypeVar("KeyT", bound=Hashable)
Correct = Callable[[Evaluation, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PictureJob:
    """A picture on its way.

    Args:
        solver: not begun yet.
        guidance: of its velocities.
        conditions: of one row each, for every branch that the guidance may ask for.
        correct: what is done to a velocity before the solver gets it. For inpainting, with ``known`` where ``mask`` is
            False: ``where(mask, velocity, (latent - known) / sigma)`` ends exactly there, as noise paths are straight.
        wrapped: cells of the pattern that the network is shown more at each side, for a picture whose edges meet.
    """

    solver: Solver
    guidance: Guidance
    conditions: Mapping[Branch, Condition]
    correct: Correct | None = None
    wrapped: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class StepTaken(Generic[KeyT]):
    """The solver of picture ``key`` is about to be sent ``velocity`` ``(1, C, h, w)``."""

    key: KeyT
    evaluation: Evaluation
    velocity: Tensor

    @property
    def denoised(self) -> Tensor:
        """The clean latent that the step implies."""
        return self.evaluation.denoised(self.velocity)


@dataclass(frozen=True, slots=True, eq=False)
class Finished(Generic[KeyT]):
    """Picture ``key`` has left with this latent ``(1, C, h, w)``, float32."""

    key: KeyT
    latent: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Paused(Generic[KeyT]):
    """Picture ``key`` has left before a step; when it joins again, it goes on as if it had stayed."""

    key: KeyT
    job: PictureJob
    wish: Evaluation


Event: TypeAlias = StepTaken[KeyT] | Finished[KeyT] | Paused[KeyT]


class Denoiser(Generic[KeyT]):
    """Pictures on their way through one network; they may join and leave between any two rounds.

    What it does has gradients, unless the caller turns them off.

    Args:
        transformer: the network; latents are cast to its dtype and velocities back to float32.
        max_rows: of a call on an accelerator.
        fixed_rows: every call has exactly that many rows, on any device; some of them are filler. Products are cut by
            the number of rows, so a picture is the same to the bit whoever keeps it company, at the cost of the filler.
        step: what computes in the network's place.
    """

    def __init__(
        self,
        transformer: LinearDiT,
        *,
        max_rows: int = MAX_ROWS,
        fixed_rows: int | None = None,
        step: Step | None = None,
    ) -> None:
        self.transformer, self.max_rows, self.fixed_rows = transformer, max_rows, fixed_rows
        self._step: Step = step or transformer
        self._running: dict[KeyT, tuple[PictureJob, Evaluation]] = {}
        # put together anew only when its rows change, which most steps do not
        self._together = lru_cache(maxsize=1)(lambda *rows: Condition.cat(rows))
        self._acting = lru_cache(maxsize=MAX_ROWS)(Condition.only)

    def __len__(self) -> int:
        return len(self._running)

    @property
    def has_room(self) -> bool:
        """Whether one more picture could share the next call with those that are here."""
        rows = sum(len(job.conditions) for job, _ in self._running.values())
        return not self._running or rows < self._capacity(next(iter(self._running.values()))[1])

    def add(self, key: KeyT, job: PictureJob | Paused[KeyT]) -> None:
        """Let a picture join, or join again.

        Raises:
            ConfigError: it needs more rows than a call is to have.
        """
        assert key not in self._running, key
        if isinstance(job, Paused):
            self._running[key] = job.job, job.wish
            return
        if self.fixed_rows is not None:
            if len(job.conditions) > self.fixed_rows:
                raise ConfigError(f"a picture of {len(job.conditions)} rows does not fit into {self.fixed_rows} rows")
            length = max(condition.text_length for condition in job.conditions.values())
            job = replace(job, conditions={name: each.pad(length) for name, each in job.conditions.items()})
        self._running[key] = job, next(job.solver)

    def remove(self, key: KeyT) -> None:
        """Let a picture leave as it is; one that has left already is no error."""
        if key in self._running:
            self._running.pop(key)[0].solver.close()

    def pause(self, step: int) -> list[Paused[KeyT]]:
        """Let all leave whose next step is this one or a later one."""
        found = [Paused(key, *running) for key, running in self._running.items() if running[1].index >= step]
        for each in found:
            del self._running[each.key]
        return found

    def round(self, first: KeyT | None = None) -> Iterator[StepTaken[KeyT] | Finished[KeyT]]:
        """One call of the network: for picture ``first``, or the one that joined first, and those that fit beside it.

        A picture whose step was not taken up, because the caller went away, asks for it again in the next round.
        """
        company = self._company(first)
        velocities = self._velocities([self._running[key] for key in company])
        for key, velocity in zip(company, velocities, strict=True):
            if key not in self._running:
                continue  # it was removed between two events
            job, wish = self._running[key]
            corrected = velocity if job.correct is None else job.correct(wish, velocity)
            yield StepTaken(key, wish, corrected)
            if key not in self._running:
                continue
            try:
                self._running[key] = job, job.solver.send(corrected)
            except StopIteration as end:
                del self._running[key]
                yield Finished(key, end.value)

    def _capacity(self, wish: Evaluation) -> int:
        return self.fixed_rows or rows_per_call(wish.latent.device, wish.latent.shape[1:], self.max_rows)

    def _company(self, first: KeyT | None) -> list[KeyT]:
        """Who takes part in the next call: the first picture, and those like it as long as their rows fit."""
        company: list[KeyT] = []
        rows, kinds = 0, {key: self._kind(*running) for key, running in self._running.items()}
        first = next(iter(kinds), None) if first is None else first
        for key in sorted(kinds, key=lambda key: key != first):
            job, wish = self._running[key]
            needed = len(job.guidance.branches(wish.sigma))
            if kinds[key] == kinds[first] and (not company or rows + needed <= self._capacity(wish)):  # type: ignore[index]
                company.append(key)
                rows += needed
        return company

    def _kind(self, job: PictureJob, wish: Evaluation) -> Hashable:
        """What pictures of one call have in common: their size and the networks beside this one; with fixed rows also
        the length of their texts, for the bits."""
        length = max(each.text_length for each in job.conditions.values()) if self.fixed_rows else None
        told = self._told(job, wish, next(iter(job.conditions)))
        return wish.latent.shape, job.wrapped, length, tuple(control.network for control in told.controls)

    def _told(self, job: PictureJob, wish: Evaluation, branch: Branch) -> Condition:
        """What the network is told in a step; the same object as long as that does not change."""
        condition = job.conditions[branch]
        acting = tuple(control.acts_in(wish.index, wish.total) for control in condition.controls)
        return condition if all(acting) else self._acting(condition, acting)

    def _velocities(self, wishes: Sequence[tuple[PictureJob, Evaluation]]) -> list[Tensor]:
        """One velocity ``(1, C, h, w)`` float32 per wish."""
        if not wishes:
            return []
        branches = [job.guidance.branches(wish.sigma) for job, wish in wishes]
        rows = [
            (job, wish, self._told(job, wish, name))
            for (job, wish), own in zip(wishes, branches, strict=True)
            for name in own
        ]
        rows += rows[:1] * ((self.fixed_rows or 0) - len(rows))
        device, dtype = self.transformer.device, self.transformer.compute_dtype
        together = self._together(*(condition for _, _, condition in rows))
        on_device = torch.cuda.device(device if device.type == "cuda" else -1)  # where Triton starts its kernels
        with on_device, told_by_row(together.beside), reused_memory():
            velocity = self._step(
                torch.cat([wrap(wish.latent, job.wrapped) for job, wish, _ in rows]).to(device, dtype),
                torch.cat([torch.full((1,), wish.timestep, device=device) for _, wish, _ in rows]),  # without waiting
                together,
            ).float()  # (rows, C, h, w)
        parts = iter(velocity.split(1))
        return [
            middle(job.guidance.combine({name: next(parts) for name in own}, wish.sigma), wish.latent.shape[-2:])
            for (job, wish), own in zip(wishes, branches, strict=True)
        ]


def rows_per_call(device: torch.device, shape: Sequence[int], max_rows: int = MAX_ROWS) -> int:
    """Rows that pictures with latents of ``shape`` ``(C, h, w)`` may fill together; a picture alone may have more.

    One on the CPU, so that every picture has its own calls there and is the same to the bit in any company.
    """
    return 1 if device.type == "cpu" else max(min(max_rows, MAX_POSITIONS // math.prod(shape[1:])), 1)


def denoise(denoiser: Denoiser[int], jobs: Iterable[PictureJob]) -> Iterator[Event[int]]:
    """Run all jobs to their end, each under its number; the next is asked for when there is room for it."""
    return advance(denoiser, enumerate(jobs))


def advance(
    denoiser: Denoiser[KeyT], joining: Iterable[tuple[KeyT, PictureJob | Paused[KeyT]]], *, until: int | None = None
) -> Iterator[Event[KeyT]]:
    """Let pictures join as soon as there is room, and run them to their end, or until their next step is ``until``."""
    waiting = iter(joining)
    while True:
        while denoiser.has_room and (next_one := next(waiting, None)) is not None:
            denoiser.add(*next_one)
        if not len(denoiser):
            return
        yield from denoiser.round()
        if until is not None:
            yield from denoiser.pause(until)
