"""Which micro-batches a step takes, and where they come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from sanakit.common.ranks import Ranks
from sanakit.features.batches import NamedSample, NamesSamples, TrainingData

BatchT = TypeVar("BatchT")


@dataclass(frozen=True, slots=True)
class StepPlan:
    """This process's part of a step.

    Attributes:
        position: number of the first micro-batch of the step on all processes.
        numbers: of this process's micro-batches, as many on every process.
        weights: of their losses: samples of the micro-batch / samples of the step. Where the last step of an epoch has
            too few for all, a process computes one that another one has with a weight of 0, so that all of them keep
            in step.
        num_microbatches, num_samples: of the step on all processes.
    """

    position: int
    numbers: tuple[int, ...]
    weights: tuple[float, ...]
    num_microbatches: int
    num_samples: int


class Feed(ABC, Generic[BatchT]):
    """The micro-batches of a stage, by number.

    What is taken may depend on the present weights, as rollouts do. A run then resumes to the bit if the feed makes a
    micro-batch from its number and from weights that a checkpoint holds: the trainee's, or those of a companion.
    """

    num_batches: int | None
    """Micro-batches of one epoch; None: samples never repeat."""

    @abstractmethod
    def num_samples(self, number: int) -> int:
        """Samples of micro-batch ``number``, without making it."""

    @abstractmethod
    def take(self, plan: StepPlan) -> list[BatchT]:
        """The micro-batches of a step that begins now, one for each of ``plan.numbers``."""

    def describe(self, number: int) -> list[NamedSample]:
        """The samples of a micro-batch, in its order; none if nobody knows their names."""
        return []

    def expect(self, plan: StepPlan) -> None:
        """The step after the one that was taken, before it is computed."""

    def close(self) -> None:
        """The stage is over."""


class Prefetched(Feed[BatchT]):
    """Micro-batches that are pure functions of their number, made by a thread while the step before is computed.

    What is expected and never taken costs nothing but the time of making it.
    """

    def __init__(self, data: TrainingData[BatchT]) -> None:
        self._data, self.num_batches = data, data.num_batches
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
        self._pending: dict[int, Future[BatchT]] = {}

    def num_samples(self, number: int) -> int:
        return self._data.num_samples(number)

    def take(self, plan: StepPlan) -> list[BatchT]:
        """An error in the making of one is raised here."""
        return [(self._pending.pop(number, None) or self._begin(number)).result() for number in plan.numbers]

    def describe(self, number: int) -> list[NamedSample]:
        return self._data.describe(number) if isinstance(self._data, NamesSamples) else []

    def expect(self, plan: StepPlan) -> None:
        """Begin with these, and forget others that were expected."""
        self._pending = {number: self._pending.get(number) or self._begin(number) for number in plan.numbers}

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _begin(self, number: int) -> Future[BatchT]:
        return self._pool.submit(self._data.batch, number)


def plan_step(
    num_samples: Callable[[int], int], position: int, end: int | None, accumulation: int, ranks: Ranks
) -> StepPlan:
    """This process's part of a step that begins at micro-batch ``position`` of the stage and stays before ``end``."""
    stop = position + accumulation * ranks.world
    every = range(position, stop if end is None else min(stop, end))
    samples = [num_samples(number) for number in every]
    rounds = -(-len(every) // ranks.world)
    mine = list(every[ranks.rank :: ranks.world])
    weights = [num_samples(number) / sum(samples) for number in mine]
    if len(mine) < rounds:
        mine, weights = [*mine, every[-1]], [*weights, 0.0]
    return StepPlan(position, tuple(mine), tuple(weights), len(every), sum(samples))
