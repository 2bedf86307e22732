"""What a stage measures, and what came out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from sanakit.bench.floors import Work
from sanakit.bench.stopwatch import Times

Run = Callable[[], Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """Two ways to one result.

    Args:
        ours: as users get it.
        peer: diffusers' way on the same weights and inputs; None where there is none.
        control: ours on an input that is a little different: its result must differ.
        work: what has to be done at least.
        weights: bytes of the weights that are used, once.
        is_picture: the result is pixels in [-1, 1].
        note: what a reader must know of it.
    """

    ours: Run
    peer: Run | None
    control: Run | None
    work: Work | None
    weights: int = 0
    is_picture: bool = False
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class StageResult:
    """Seconds, bytes and differences of one stage.

    ``error`` is the largest difference to the peer over its largest value, ``control`` the same for an input that is a
    little different; ``psnr`` in dB, of pixels. ``floor`` in seconds. ``peak`` and ``peer_peak`` are bytes beside the
    weights, at the first call. ``others`` is how many cores other programs used meanwhile.
    """

    name: str
    ours: Times
    peer: Times | None = None
    error: float | None = None
    control: float | None = None
    psnr: float | None = None
    floor: float | None = None
    flops: float | None = None
    weights: int = 0
    peak: int | None = None
    peer_peak: int | None = None
    others: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times longer the peer takes by the clock, of medians."""
        return None if self.peer is None else self.peer.wall / self.ours.wall

    @property
    def cpu_ratio(self) -> float | None:
        """The same of CPU time, which a busy machine disturbs less."""
        return None if self.peer is None or not self.ours.cpu else self.peer.cpu / self.ours.cpu

    @property
    def reached(self) -> float | None:
        """The floor over the median: 1 is as quick as can be, without doing less arithmetic."""
        return None if self.floor is None or not self.ours.undisturbed else self.floor / self.ours.undisturbed

    @property
    def agrees(self) -> bool | None:
        """Whether the results are nearer to each other than those of the control are, by far."""
        if self.error is None or self.control is None:
            return None
        return math.isfinite(self.error) and 10 * self.error < self.control


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Largest difference over largest value; infinite where the shapes differ or something is no number."""
    if found.shape != expected.shape or not found.isfinite().all():
        return math.inf
    found, expected = found.float().cpu(), expected.float().cpu()
    return float((found - expected).abs().max() / expected.abs().max())


def psnr_of(found: Tensor, expected: Tensor) -> float:
    """In dB, of pixels in [-1, 1]."""
    error = float((found.float().cpu().clamp(-1, 1) - expected.float().cpu().clamp(-1, 1)).square().mean())
    return 10 * math.log10(4 / error) if error else math.inf
