"""Ctrl-C and SIGTERM as a wish that is granted between two steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Self

from sanakit.common.errors import SanakitError


class RunInterrupted(SanakitError):  # noqa: N818 (nothing went wrong)
    """The run was asked to stop, and has saved where it is."""


class Interruption:
    """While this is entered, the first signal is noted and a second Ctrl-C interrupts at once.

    Signals reach the main thread only; in another one this does nothing.
    """

    def __init__(self) -> None:
        self.name: str | None = None  # of the signal that came
        self._old: dict[int, object] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._old[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.name is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
