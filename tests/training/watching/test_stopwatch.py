"""Time of steps: what is counted, and that a stop is not."""

from __future__ import annotations

import threading

import pytest

from sanakit.training.watching.stopwatch import AwakeClock, Stopwatch


def test_time_in_which_the_process_was_stopped_is_not_counted() -> None:
    times = iter([100.0, 100.25, 100.5, 102.4, 5000.0, 5000.5])
    clock = AwakeClock(lambda: next(times))
    assert [round(clock(), 3) for _ in range(5)] == [0.25, 0.5, 2.4, 2.4, 2.9]


def test_a_long_step_counts_in_full_as_the_clock_is_looked_at_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sanakit.training.watching.stopwatch._STOP", 0.3)
    monkeypatch.setattr("sanakit.training.watching.stopwatch._TICK", 0.02)
    before = threading.active_count()
    watch = Stopwatch()
    threading.Event().wait(0.8)
    assert watch.lap("compute") > 0.6
    watch.close()
    total = watch.lap("other")
    assert watch.seconds["compute"] <= total
    for thread in threading.enumerate()[before:]:
        thread.join(5)
    assert threading.active_count() == before
