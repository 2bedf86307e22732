"""Where the time of a step goes."""

from __future__ import annotations

import time


class Stopwatch:
    """Seconds by phase; every moment belongs to the phase whose end is called next."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = self._start = time.perf_counter()

    def lap(self, phase: str) -> float:
        """End a phase; gives the seconds since the last lap of "other", which ends a step."""
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._last
        self._last = now
        total = now - self._start
        if phase == "other":
            self._start = now
        return total

    def take(self) -> dict[str, float]:
        """The seconds since this was last asked, by phase."""
        seconds, self.seconds = self.seconds, {}
        return seconds
