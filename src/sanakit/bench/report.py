"""What was measured, with everything that is needed to measure it again, as JSON and as rows of a table."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from sanakit.bench.case import StageResult
from sanakit.bench.floors import Rates
from sanakit.bench.peer import peer_version
from sanakit.bench.settings import BenchSettings
from sanakit.bench.stopwatch import Times
from sanakit.common.byte_counts import readable_bytes
from sanakit.common.devices import allowed_cores
from sanakit.common.free_memory import free_memory, total_memory
from sanakit.evaluation.reports.report import measured_with
from sanakit.kernels.arithmetic import arithmetic_facts

BUSY = 0.15
"""Cores of other programs, as a share of all, from which on a machine is called busy."""


def machine_facts(device: str) -> dict[str, Any]:
    """The hardware, and how busy it is now."""
    return {
        **arithmetic_facts(torch.device(device)),
        "cores": allowed_cores(),
        "memory": total_memory(),
        "free memory": free_memory(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "threads": torch.get_num_threads(),
    }


def versions() -> dict[str, str]:
    """Of everything that computes, diffusers among it where it is installed."""
    found = measured_with()
    return found if (peer := peer_version()) is None else {**found, "diffusers": peer}


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchReport:
    """One run."""

    settings: BenchSettings
    command: str
    rates: Rates
    stages: Sequence[StageResult]
    machine: Mapping[str, Any]
    versions: Mapping[str, str] = field(default_factory=versions)

    def to_json(self) -> dict[str, Any]:
        """Seconds, bytes and operations a second."""
        return {
            "command": self.command,
            "settings": asdict(self.settings),
            "machine": dict(self.machine),
            "versions": dict(self.versions),
            "rates": asdict(self.rates),
            "stages": [stage_to_json(stage) for stage in self.stages],
            "remarks": list(self.remarks()),
        }

    def remarks(self) -> Iterator[str]:
        """What a reader must know before a number is believed."""
        busy = [stage.others for stage in self.stages if stage.others is not None]
        if busy and max(busy) > BUSY * (cores := allowed_cores()):
            yield (
                f"this machine is busy: other programs used up to {max(busy):.1f} of its {cores} cores meanwhile; "
                f"believe the ratios of CPU time, with one thread, more than those of the clock"
            )
        if not self.settings.peer:
            yield "diffusers was not measured beside"
        for stage in self.stages:
            if stage.agrees is False:
                yield f"{stage.name}: the two results differ by {stage.error:.1e}, the control by {stage.control:.1e}"


def stage_to_json(stage: StageResult) -> dict[str, Any]:
    """All that is known of it, derived numbers too."""
    facts = {name: value for name, value in asdict(stage).items() if name not in ("ours", "peer")}
    derived = {name: getattr(stage, name) for name in ("ratio", "cpu_ratio", "reached", "agrees")}
    return {**facts, **derived, "ours": _times(stage.ours), "peer": _times(stage.peer)}


TIME_HEADERS = ("stage", "ours", "spread", "diffusers", "spread", "ratio", "CPU", "floor", "of it")
MEMORY_HEADERS = ("stage", "weights", "beside", "diffusers'", "error", "control")


def time_row(stage: StageResult) -> tuple[str, ...]:
    """Under ``TIME_HEADERS``: medians with their spread, the ratio by the clock and of CPU time."""
    return (
        stage.name,
        seconds(stage.ours.wall),
        _spread(stage.ours),
        "-" if stage.peer is None else seconds(stage.peer.wall),
        _spread(stage.peer),
        _told(stage.ratio, "{:.2f}x"),
        _told(stage.cpu_ratio, "{:.2f}x"),
        "-" if stage.floor is None else seconds(stage.floor),
        _told(stage.reached, "{:.0%}"),
    )


def memory_row(stage: StageResult) -> tuple[str, ...]:
    """Under ``MEMORY_HEADERS``: weights, what the first call takes beside them, and how far the results are apart."""
    return (
        stage.name,
        readable_bytes(stage.weights),
        "-" if stage.peak is None else readable_bytes(stage.peak),
        "-" if stage.peer_peak is None else readable_bytes(stage.peer_peak),
        _told(stage.error, "{:.1e}") if stage.psnr is None else f"{stage.psnr:.0f} dB",
        _told(stage.control, "{:.1e}"),
    )


def seconds(value: float) -> str:
    """With three digits."""
    return f"{1000 * value:.3g} ms" if value < 1 else f"{value:.3g} s"


def _spread(times: Times | None) -> str:
    """Least and most, against the median; one sample has none."""
    if times is None or len(times.samples) == 1:
        return "-"
    return f"{times.least / times.wall - 1:+.0%} {times.most / times.wall - 1:+.0%}"


def _times(times: Times | None) -> dict[str, Any] | None:
    if times is None:
        return None
    summary = {"wall": times.wall, "cpu": times.cpu, "least": times.least, "most": times.most}
    return {**summary, "samples": [asdict(sample) for sample in times.samples]}


def _told(value: float | None, pattern: str) -> str:
    return "-" if value is None else pattern.format(value)
