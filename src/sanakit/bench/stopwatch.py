"""Two ways to the same result, one after the other in one process, again and again."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from sanakit.common.free_memory import give_back_freed_memory, process_memory

_CLEAR = Path("/proc/self/clear_refs")


@dataclass(frozen=True, slots=True)
class Sample:
    """One call, in seconds: by the clock, and on the CPU of all its threads and processes."""

    wall: float
    cpu: float
    by_one_thread: float | None = None  # the CPU time where one thread did all: what the call takes on an idle machine


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of the calls of one side."""

    samples: tuple[Sample, ...]

    @property
    def undisturbed(self) -> float:
        """By the clock; with one thread the CPU time, which other programs disturb little."""
        return statistics.median(sample.by_one_thread or sample.wall for sample in self.samples)

    @property
    def wall(self) -> float:
        return statistics.median(sample.wall for sample in self.samples)

    @property
    def cpu(self) -> float:
        return statistics.median(sample.cpu for sample in self.samples)

    @property
    def least(self) -> float:
        """By the clock: what a busy machine disturbed least."""
        return min(sample.wall for sample in self.samples)

    @property
    def most(self) -> float:
        return max(sample.wall for sample in self.samples)


def interleaved(sides: list[Callable[[], object]], *, repeats: int, seconds: float, device: str) -> list[Times]:
    """A B A B: each side ``repeats`` times, or fewer once ``seconds`` would be passed by another round."""
    samples: list[list[Sample]] = [[] for _ in sides]
    start = time.perf_counter()
    for done in range(repeats):
        spent = time.perf_counter() - start
        if done and spent * (done + 1) / done > seconds:
            break
        for side, found in zip(sides, samples, strict=True):
            found.append(timed(side, device))
    return [Times(tuple(found)) for found in samples]


def timed(call: Callable[[], object], device: str) -> Sample:
    """One call, until its device is done."""
    synchronize(device)
    wall, cpu = time.perf_counter(), _cpu_time()
    call()
    synchronize(device)
    wall, cpu = time.perf_counter() - wall, _cpu_time() - cpu
    alone = torch.device(device).type == "cpu" and torch.get_num_threads() == 1
    return Sample(wall, cpu, cpu if alone else None)


def peak_bytes(call: Callable[[], object], device: str) -> int | None:
    """The most that a call takes beside what was there before it; None where the system does not tell."""
    gc.collect()
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    give_back_freed_memory()  # or it hides what the call takes
    try:
        _CLEAR.write_text("5")  # the highest mark starts anew
    except OSError:
        call()
        return None
    held = process_memory()
    call()
    highest = process_memory(peak=True)
    return None if held is None or highest is None else max(highest - held, 0)


def others_cores(since: tuple[float, float, float] | None = None) -> tuple[tuple[float, float, float], float | None]:
    """How many cores other programs used since a moment that an earlier call gave; and this moment.

    None for the first call, and where the system does not tell.
    """
    own = sum(os.times()[:4])
    try:
        fields = [int(number) for number in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError, IndexError):
        return (time.perf_counter(), own, -1.0), None
    busy = (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")
    now = time.perf_counter(), own, busy
    if since is None or since[2] < 0:
        return now, None
    seconds = max(now[0] - since[0], 1e-9)
    return now, max((busy - since[2]) - (own - since[1]), 0.0) / seconds


def synchronize(device: str) -> None:
    """Wait for an accelerator."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def _cpu_time() -> float:
    """Of this process and of those that it started and that have ended."""
    return time.process_time() + sum(os.times()[2:4])
