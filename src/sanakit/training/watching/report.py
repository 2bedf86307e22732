"""The page a run leaves behind: what was asked, on what machine, how long, the curves and the pictures."""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from sanakit.common.files import write_whole

logger = logging.getLogger(__name__)


def read_log(path: Path) -> list[dict[str, float]]:
    """The lines of a ``log.jsonl``; none if there is no such file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def draw_curves(
    logs: Mapping[str, Sequence[Mapping[str, float]]], keys: Sequence[str], folder: Path, *, against: str | None = None
) -> list[str]:
    """One panel per key, one line per part of the run, against the samples seen; or per run, ``against`` another key.

    Returns:
        the name of the picture in ``folder``; none where matplotlib is not installed, which is warned of.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        logger.warning(
            "the report has no curves: they are drawn by matplotlib; install it with: pip install 'sanakit[train]'"
        )
        return []
    figure = Figure(figsize=(5 * len(keys), 3.4), layout="constrained")
    for panel, key in zip(figure.subplots(1, len(keys), squeeze=False)[0], keys, strict=True):
        offset = 0.0
        for name, lines in logs.items():
            chosen = [line for line in lines if key in line]
            if not chosen:
                continue
            if all(line[key] > 0 for line in chosen):
                panel.set_yscale("log")  # not of an empty panel: it would look for ticks for a minute
            places = [offset + line[against or "samples"] for line in chosen]
            panel.plot(places, [line[key] for line in chosen], label=name)
            offset += lines[-1]["samples"] if lines and against is None else 0.0
        panel.set_title(key)
        panel.set_xlabel((against or "samples").replace("_", " "))
        panel.grid(alpha=0.3)
        if panel.lines:
            panel.legend()
    figure.savefig(folder / "curves.png", dpi=110)
    return ["curves.png"]


def write_report(
    folder: Path, *, title: str, recipe: Mapping[str, Any], results: Mapping[str, Any], images: Sequence[str]
) -> Path:
    """``report.md``: results, hardware, the pictures named in ``images`` and the full recipe."""
    lines = [f"# {title}", "", str(recipe.get("intent", "")).strip(), "", "| | |", "| --- | --- |"]
    lines += [f"| {name} | {value} |" for name, value in {**results, **hardware()}.items()]
    lines += ["", *(f"![{name}]({name})" for name in images), "", "## Recipe", "", "```yaml"]
    lines += [yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True, width=100).rstrip(), "```", ""]
    path = folder / "report.md"
    write_whole(path, "\n".join(lines))
    return path


def spent(log: Sequence[Mapping[str, float]]) -> str:
    """Steps, samples and time of a run up to the last line of its log, in words."""
    return (
        spent_in_words(*(log[-1][name] for name in ("step", "samples", "seconds"))) if log else "too short for its log"
    )


def spent_in_words(steps: float, samples: float, seconds: float) -> str:
    return f"{steps:.0f} steps, {samples:.0f} samples, {seconds / 60:.0f} minutes"


def hardware() -> dict[str, str]:
    """What the run ran on, in words."""
    accelerator = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"
    return {
        "processor": f"{_processor_name()}, {torch.get_num_threads()} thread(s) per process",
        "accelerator": accelerator,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _processor_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
