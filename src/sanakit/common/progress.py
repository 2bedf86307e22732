"""Long work: what it tells about how far it is, and what is computed beside it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import Generic, TypeVar

OnProgress = Callable[[int, int, str], None]
"""Is told (done, total, of what)."""

T = TypeVar("T")


def no_progress(done: int, total: int, what: str) -> None:
    """Tells nobody."""


class Meanwhile(Generic[T]):
    """What ``compute`` gives, computed in a thread of its own; one that nobody waits for ends with the program."""

    def __init__(self, compute: Callable[[], T]) -> None:
        self._future: Future[T] = Future()
        Thread(target=self._run, args=(compute,), daemon=True).start()

    def result(self) -> T:
        """The value, as soon as it is there; raises what ``compute`` raised."""
        return self._future.result()

    def _run(self, compute: Callable[[], T]) -> None:
        try:
            self._future.set_result(compute())
        except BaseException as error:  # for whoever asks for the value
            self._future.set_exception(error)
