"""Where the time of a step goes, of which none passes while the process is stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, Lock, Thread

_TICK, _STOP = 0.25, 2.0  # seconds


class AwakeClock:
    """Seconds in which this process could run: while it is stopped (SIGSTOP, Ctrl-Z, a laptop asleep) they stand.

    A thread looks at the time every quarter of a second; a gap of more than two seconds between two looks is a stop.
    Long work of the others is no gap, as the thread goes on beside it.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now, self._last, self._seconds, self._lock = now, now(), 0.0, Lock()

    def __call__(self) -> float:
        with self._lock:
            now = self._now()
            gap, self._last = now - self._last, now
            self._seconds += gap if gap < _STOP else 0.0
            return self._seconds


class Stopwatch:
    """Seconds by phase; every moment belongs to the phase whose end is called next. Must be closed."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._clock, self._closed = AwakeClock(), Event()
        self._last = self._start = self._clock()
        self._cpu = time.process_time()
        Thread(target=self._tick, daemon=True).start()

    def lap(self, phase: str) -> float:
        """End a phase; gives the seconds since the last lap of "other", which ends a step."""
        now = self._clock()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._last
        self._last = now
        total = now - self._start
        if phase == "other":
            self._start = now
        return total

    def cpu(self) -> float:
        """Seconds of the processor, over all threads, since this was last asked."""
        before, self._cpu = self._cpu, time.process_time()
        return self._cpu - before

    def take(self) -> dict[str, float]:
        """The seconds since this was last asked, by phase."""
        seconds, self.seconds = self.seconds, {}
        return seconds

    def close(self) -> None:
        self._closed.set()

    def _tick(self) -> None:
        while not self._closed.wait(_TICK):
            self._clock()
