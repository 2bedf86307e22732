"""The curve of a run: ``log.jsonl``, a line every so many steps, and the trackers that are told the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sanakit.common.config import json_values
from sanakit.common.errors import OutputError
from sanakit.common.files import write_whole
from sanakit.common.ranks import ALONE, Ranks, sum_over_ranks
from sanakit.training.step.step import Outcome
from sanakit.training.watching.loss_bands import LossBuckets

PHASES = ("data", "compute", "optimizer", "other")
CLOCKS = frozenset(
    {"seconds", "cpu_seconds", "samples_per_second", "eta_seconds", *(f"{phase}_seconds" for phase in PHASES)}
)
"""Entries of a line that differ between two runs of the same numbers."""


class Window:
    """What happened since the last line of the log: means of the terms, and where the time went.

    Args:
        state: of ``to_json``, when a run continues in the middle of a line.
        ranks: each process counts the bands of noise of its own samples, until they are summed for a line.
    """

    def __init__(self, state: Mapping[str, Any] | None = None, ranks: Ranks = ALONE) -> None:
        state, self._ranks = state or {}, ranks
        self.steps: int = state.get("steps", 0)
        self.samples: int = state.get("samples", 0)
        self.sums: dict[str, float] = dict(state.get("sums", {}))
        self.counts: dict[str, int] = dict(state.get("counts") or dict.fromkeys(self.sums, self.steps))
        self.skipped: dict[str, int] = dict(state.get("skipped", {}))
        self.seconds: dict[str, float] = dict(state.get("seconds", {}))
        rows: list[list[float]] = state.get("bands", [])  # of each process that saved
        if len(rows) != ranks.world:
            rows = [[sum(column) for column in zip(*rows, strict=True)] if ranks.is_first else []] * ranks.world
        self.buckets = LossBuckets(rows[ranks.rank])

    def add(self, outcomes: Mapping[str, Outcome], samples: int, seconds: Mapping[str, float], *, first: str) -> None:
        """The outcomes of a step by trainee; names of all but the ``first`` get the trainee's before them."""
        self.steps += 1
        self.samples += samples
        for trainee, outcome in outcomes.items():
            prefix = "" if trainee == first else f"{trainee}/"
            if not outcome.is_finite:
                self.skipped[f"{prefix}skipped"] = self.skipped.get(f"{prefix}skipped", 0) + 1
                continue
            for name, value in {**outcome.terms, "gradient_norm": outcome.gradient_norm}.items():
                self.sums[prefix + name] = self.sums.get(prefix + name, 0.0) + value
                self.counts[prefix + name] = self.counts.get(prefix + name, 0) + 1
            if outcome.sigma is not None and outcome.per_sample is not None and trainee == first:
                self.buckets.add(outcome.sigma, outcome.per_sample)
        for phase, value in seconds.items():
            self.seconds[phase] = self.seconds.get(phase, 0.0) + value

    def means(self) -> dict[str, float]:
        """Of the terms, each over the steps that had it."""
        return {name: total / self.counts[name] for name, total in self.sums.items()}

    def bands(self) -> dict[str, float]:
        """Mean loss per band of noise, of the samples of all processes; all of them must ask. Counting begins anew."""
        numbers, self.buckets = sum_over_ranks(self.buckets.numbers, self._ranks), LossBuckets()
        return LossBuckets(numbers).take()

    def speed(self) -> dict[str, float]:
        """Samples per second, and seconds of a step by what they were spent on."""
        total = sum(self.seconds.values())
        return {
            "samples_per_second": self.samples / total if total else 0.0,
            **{f"{phase}_seconds": self.seconds.get(phase, 0.0) / self.steps for phase in PHASES},
        }

    def to_json(self) -> dict[str, Any]:
        """Plain numbers; all processes must ask."""
        own = self.buckets.numbers
        rows = [own if rank == self._ranks.rank else [0.0] * len(own) for rank in range(self._ranks.world)]
        gathered = sum_over_ranks([value for row in rows for value in row], self._ranks)
        return {
            "steps": self.steps,
            "samples": self.samples,
            "sums": self.sums,
            "counts": self.counts,
            "skipped": self.skipped,
            "seconds": self.seconds,
            "bands": [gathered[start : start + len(own)] for start in range(0, len(gathered), len(own))],
        }


def cut_log(path: Path, step: int) -> None:
    """Drop the lines after ``step``, which a continued run writes again, and a last one that is not whole."""
    if not path.exists():
        return
    kept = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            line = json_values(text)
        except ValueError:
            continue
        if line["step"] <= step:
            kept.append(text + "\n")
    write_whole(path, "".join(kept), locked=True)


def append_log(path: Path, line: Mapping[str, float]) -> None:
    """One line more.

    Raises:
        OutputError: it could not be written.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    except OSError as error:
        raise OutputError(f"the log {path} cannot be written ({error.strerror})") from error
