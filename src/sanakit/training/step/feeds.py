"""The next micro-batches, made by a thread while the present one is computed with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self


class Prefetch:
    """Micro-batches by their number. What is expected and never taken costs nothing but the time of making it.

    Args:
        make: a pure function of the number, so that it does not matter when and where it runs.
    """

    def __init__(self, make: Callable[[int], Any]) -> None:
        self._make = make
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
        self._pending: dict[int, Future[Any]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def expect(self, numbers: Iterable[int]) -> None:
        """Begin with these, and forget others that were expected."""
        self._pending = {
            number: self._pending.get(number) or self._pool.submit(self._make, number) for number in numbers
        }

    def take(self, number: int) -> Any:
        """Micro-batch ``number``, once it is there; an error of its making is raised here."""
        future = self._pending.pop(number, None) or self._pool.submit(self._make, number)
        return future.result()
