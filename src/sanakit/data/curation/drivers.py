"""Who calls the steps: threads of this process, or Ray (curation/on_ray.py). Both give the rows in the same order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from sanakit.common.devices import num_cores
from sanakit.data.ahead import map_ahead
from sanakit.data.curation.steps import Row, Step


@dataclass(frozen=True, slots=True)
class Work:
    """One pass: a step, and what it needs."""

    kind: Literal["pictures", "model", "shards"]  # decides what runs beside what
    make_step: Callable[[], Step]  # called where the work is done, so that models are loaded there


class Driver(Protocol):
    """Runs a step over batches."""

    def map(self, work: Work, batches: Iterable[list[Row]]) -> Iterator[list[Row]]:
        """The results of the batches, each by itself, in their order; ``batches`` is drawn as it is needed."""


class Threads:
    """The driver in this process: pictures are decoded by several threads, all else is done by one."""

    def __init__(self, num_threads: int | None = None) -> None:
        self._num_threads = num_threads or num_cores()

    def map(self, work: Work, batches: Iterable[list[Row]]) -> Iterator[list[Row]]:
        step = work.make_step()
        if work.kind == "pictures":
            yield from map_ahead(step, batches, num_threads=self._num_threads)
        else:  # one model, and one shard in memory
            yield from map(step, batches)
