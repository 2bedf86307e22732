"""Work on pictures in threads (Pillow's decoders release the lock), in order and never far ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from sanakit.common.devices import num_cores

T = TypeVar("T")
R = TypeVar("R")


def map_ahead(function: Callable[[T], R], items: Iterable[T], *, num_threads: int | None = None) -> Iterator[R]:
    """``map`` over threads: results in order, at most two per thread in memory.

    Args:
        num_threads: None takes one per core, 8 at most.
    """
    num_threads = num_threads or min(8, num_cores())
    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(num_threads)
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= 2 * num_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # also when the reader stops early
        pool.shutdown(cancel_futures=True)
