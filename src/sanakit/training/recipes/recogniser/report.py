"""What a recogniser's run leaves behind: curves, and how well it reads held-out scenes, wrong ones and spoiled ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sanakit.common.files import write_json
from sanakit.evaluation.reports.report import use_of
from sanakit.evaluation.worlds.reading import reading_report
from sanakit.scoring.reading.recogniser import RecogniserReader, load_recogniser
from sanakit.training.watching.report import draw_curves, read_log, spent, write_report
from sanakit.worlds.banks.bank import Bank

_SEED = 0


def report_recogniser(
    recipe: Mapping[str, Any], bank: Bank, folder: Path, *, num_scenes: int, device: str = "cpu"
) -> Path:
    """``report.md``, ``curves.png`` and ``scores.json`` of the finished weights, in bfloat16 as they are loaded.

    Args:
        recipe: as plain values, for the page.
        folder: of the run, with its log and its model.
        num_scenes: held-out ones, read as they are and once for every way of spoiling them.
    """
    lines = read_log(folder / "log.jsonl")
    images = draw_curves({"reading": lines}, ("loss", "name", "box"), folder)
    reader = RecogniserReader(load_recogniser(folder / "model"), device=device)
    report = replace(reading_report(reader, bank, num_scenes=num_scenes, seed=_SEED), networks=(use_of(reader),))
    write_json(folder / "scores.json", report.to_json())
    confused = [
        f"{row['thing']} as {row['read']} ({row['times']} of {row['of']})" for row in report.details["confusion"]
    ]
    results = {
        "run": spent(lines),
        **{each.name: f"{each.percent} of {each.num_samples}" for each in report.measurements},
        "taken for another": ", ".join(confused[:20]) or "none",
        "how": report.protocol,
    }
    return write_report(folder, title="The recogniser", recipe=recipe, results=results, images=images)
