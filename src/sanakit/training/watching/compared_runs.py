"""Runs that learned from rewards beside each other, on equal budgets: what each reached in how many CPU seconds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from sanakit.common.config import to_mapping
from sanakit.common.errors import RequestError
from sanakit.common.files import write_json, write_whole
from sanakit.data.curation.parts import parquet
from sanakit.data.sources.parquet import for_arrow
from sanakit.evaluation.metrics.bootstrap import Estimate, estimate
from sanakit.training.watching.report import draw_curves, read_log

CLOCK = "cpu_seconds"
HELD_OUT = "held_out"
_EXPLAINED = (
    "All runs are cut after {budget:.0f} CPU seconds of their first process, the budget of the shortest; pictures are "
    "those of the whole run. reward is the mean over the pictures of rollouts in full precision (of a run that "
    "explores, chosen ones), {held_out} over prompts that are not learned from; both over the last tenth of the "
    "budget, with 95 % intervals over its lines. The last columns are CPU seconds until that of {first} is reached."
)
_SHARE = 0.1  # of a run's budget, over whose lines its end is averaged


@dataclass(frozen=True, slots=True, eq=False)
class RunCurve:
    """A run as its folder tells it.

    Attributes:
        name: of the folder.
        algorithm: of its recipe, and whether it explores.
        lines: of its log, with CPU seconds, in which there are rewards.
        pictures: how many it made by stage, "explore" and "full".
    """

    name: str
    algorithm: str
    lines: Sequence[Mapping[str, float]]
    pictures: Mapping[str, int]

    @property
    def budget(self) -> float:
        """CPU seconds that it took."""
        return self.lines[-1][CLOCK]

    def within(self, budget: float) -> list[Mapping[str, float]]:
        return [line for line in self.lines if line[CLOCK] <= budget]

    def end(self, key: str, budget: float) -> Estimate | None:
        """The mean of a number over the last tenth of a budget, and where there is none the last one before."""
        told = [line for line in self.within(budget) if key in line]
        last = [line[key] for line in told if line[CLOCK] >= (1 - _SHARE) * budget]
        return estimate(last or [told[-1][key]], seed=0) if told else None

    def reaches(self, key: str, level: float) -> float | None:
        """CPU seconds until a number is as large for the first time."""
        return next((line[CLOCK] for line in self.lines if line.get(key, level - 1) >= level), None)


def read_run(folder: Path) -> RunCurve:
    """A run's curve, of its ``log.jsonl``, its recipe and the tables of its rollouts.

    Raises:
        RequestError: it is no run that learned from rewards, or of a version that did not count CPU seconds.
    """
    try:
        recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
        algorithm = recipe.get("algorithm", {}).get("type", "nft") + (" exploring" if recipe.get("explore") else "")
        lines = [{**line, **_held_out(line)} for line in read_log(folder / "log.jsonl") if "reward" in line]
    except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:
        raise RequestError(f"{folder} is no folder of a run: its recipe.yaml or log.jsonl cannot be read") from error
    if not lines:
        raise RequestError(f"{folder} is no run that learned from rewards: its log.jsonl tells of none")
    if any(CLOCK not in line for line in lines):
        raise RequestError(f"{folder} was logged by a version that did not count CPU seconds; run it again")
    return RunCurve(folder.name, algorithm, lines, _pictures(folder))


def _held_out(line: Mapping[str, float]) -> dict[str, float]:
    """The mean over the parts of held-out prompts, where a line tells of them."""
    parts = [
        value for key, value in line.items() if key.startswith(f"{HELD_OUT}/") and key[-4:] not in (" low", "high")
    ]
    return {HELD_OUT: fmean(parts)} if parts else {}


def _pictures(folder: Path) -> Counter[str]:
    pq = parquet()
    found = Counter[str]()
    for table in sorted((folder / "rollouts").glob("iteration-*.parquet")):
        found.update(pq.read_table(for_arrow(table), columns=["stage"])["stage"].to_pylist())
    return found


def compare_runs(folders: Sequence[Path], output: Path) -> list[dict[str, Any]]:
    """``report.md``, ``report.json`` and ``curves.png`` in ``output``: runs on the budget of the shortest, and
    when each reaches what the first one ends with.

    Returns:
        a row for each run, as plain values.

    Raises:
        RequestError: as of `read_run`, or two runs have one name.
    """
    runs = [read_run(folder) for folder in folders]
    if len({run.name for run in runs}) < len(runs):
        raise RequestError("two of these runs have folders of one name, under which their curves are drawn; rename one")
    budget = min(run.budget for run in runs)
    rows = [_row(run, runs[0], budget) for run in runs]
    output.mkdir(parents=True, exist_ok=True)
    curves = {f"{run.name} ({run.algorithm})": run.within(budget) for run in runs}
    keys = [key for key in ("reward", HELD_OUT) if any(key in line for run in runs for line in run.lines)]
    images = draw_curves(curves, keys, output, against=CLOCK)
    write_json(output / "report.json", {"budget": budget, "runs": rows})
    write_whole(output / "report.md", _page(rows, budget, runs[0].name, images))
    return rows


def _row(run: RunCurve, first: RunCurve, budget: float) -> dict[str, Any]:
    ends = {key: run.end(key, budget) for key in ("reward", HELD_OUT)}
    goal = {key: first.end(key, budget) for key in ends}
    reached = {key: None if end is None else run.reaches(key, end.mean) for key, end in goal.items()}
    return {
        "run": run.name,
        "algorithm": run.algorithm,
        "steps": len(run.within(budget)) and int(run.within(budget)[-1]["step"]),
        "pictures": dict(run.pictures),
        "cpu_seconds": run.budget,
        "began": run.lines[0]["reward"],
        **{key: None if end is None else to_mapping(end) for key, end in ends.items()},
        **{f"{key} of {first.name} after": value for key, value in reached.items()},
    }


def _page(rows: Sequence[Mapping[str, Any]], budget: float, first: str, images: Sequence[str]) -> str:
    heads = ["run", "algorithm", "steps", "pictures", "began", "reward", HELD_OUT, f"reward of {first} after",
             f"{HELD_OUT} of {first} after"]  # fmt: skip
    lines = [
        "# Learning from rewards, on equal budgets",
        "",
        _EXPLAINED.format(budget=budget, held_out=HELD_OUT, first=first),
        "",
        f"| {' | '.join(heads)} |",
        f"|{' --- |' * len(heads)}",
        *(f"| {' | '.join(_cell(row.get(head)) for head in heads)} |" for row in rows),
        "",
        *(f"![{name}]({name})" for name in images),
        "",
    ]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case {"mean": mean, "low": low, "high": high}:
            return f"{mean:.4f} ({low:.4f} to {high:.4f})"
        case dict():
            return ", ".join(f"{number} {stage}" for stage, number in value.items())
        case float():
            return f"{value:.4g}"
        case _:
            return json.dumps(value, ensure_ascii=False).strip('"').replace("|", "/")
