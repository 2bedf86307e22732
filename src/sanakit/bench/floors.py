"""What a stage takes at least: its arithmetic at the rate of large products, its bytes at the rate of copies."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from sanakit.bench.stopwatch import timed

_SIDE = {"cpu": 768, "cuda": 8192}
_COPIED = {"cpu": 2**27, "cuda": 2**30}  # bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """Operations of products and convolutions as written (two a multiply-add), and bytes that must be moved once."""

    flops: float
    bytes: float

    def __add__(self, other: Work) -> Work:
        return Work(flops=self.flops + other.flops, bytes=self.bytes + other.bytes)

    def times(self, count: int) -> Work:
        return Work(flops=count * self.flops, bytes=count * self.bytes)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rates:
    """What this machine does a second, measured with the threads and the dtype of the run."""

    flops: float
    bytes: float

    def floor(self, work: Work) -> float:
        """Seconds: the longer of the two."""
        return max(work.flops / self.flops, work.bytes / self.bytes)


def measured_rates(dtype: torch.dtype, device: str, *, seconds: float = 1.0) -> Rates:
    """The best of some seconds of products and of copies, so that other programs' load counts little."""
    kind = torch.device(device).type
    side = _SIDE.get(kind, 1024)
    a, b = (torch.ones(side, side, dtype=dtype, device=device) for _ in range(2))
    copied = torch.ones(_COPIED.get(kind, 2**26), dtype=torch.uint8, device=device)
    target = torch.empty_like(copied)
    product = _best(lambda: a @ b, device, seconds)
    copy = _best(lambda: target.copy_(copied), device, seconds / 2)
    return Rates(flops=2 * side**3 / product, bytes=2 * copied.numel() / copy)


def counted_flops(call: Callable[[], object]) -> float:
    """Operations of what ``call`` runs, which may be on the meta device."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        call()
    return float(counter.get_total_flops())


def _best(call: Callable[[], object], device: str, seconds: float) -> float:
    timed(call, device)  # the first is no measure
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        sample = timed(call, device)
        best = min(best, sample.by_one_thread or sample.wall)
    return best
