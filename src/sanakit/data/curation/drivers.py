"""Who calls the steps: threads of this process, or Ray (curation/on_ray.py). Both give the rows in the same order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, Protocol

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
        self._num_threads = num_threads or os.cpu_count() or 1

    def map(self, work: Work, batches: Iterable[list[Row]]) -> Iterator[list[Row]]:
        step = work.make_step()
        if work.kind != "pictures":  # one model, and one shard in memory
            yield from map(step, batches)
            return
        pool = ThreadPoolExecutor(self._num_threads, thread_name_prefix="curation")
        waiting: deque[Future[list[Row]]] = deque()
        try:
            for batch in batches:
                waiting.append(pool.submit(step, batch))
                if len(waiting) > 2 * self._num_threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
