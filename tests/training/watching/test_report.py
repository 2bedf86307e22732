"""The page that a run leaves behind."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from sanakit.training.watching.report import draw_curves, hardware, read_log, spent, spent_in_words, write_report


def test_the_page_holds_results_pictures_and_recipe(tmp_path: Path) -> None:
    recipe = {"intent": " Learn kites. ", "seed": 3, "name": "käse"}
    path = write_report(tmp_path, title="A run", recipe=recipe, results={"loss": 0.5}, images=["a.png"])
    lines = path.read_text(encoding="utf-8").split("\n")
    assert path == tmp_path / "report.md"
    assert lines[:7] == ["# A run", "", "Learn kites.", "", "| | |", "| --- | --- |", "| loss | 0.5 |"]
    assert f"| processor | {hardware()['processor']} |" in lines
    assert lines[-10:] == [
        "![a.png](a.png)", "", "## Recipe", "", "```yaml", "intent: ' Learn kites. '", "seed: 3", "name: käse", "```",
        "",
    ]  # fmt: skip


def test_curves_are_one_panel_a_key_and_logs_may_lack_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = [{"step": n, "samples": 4.0 * n, "seconds": 1.0, "loss": 1.0 / n} for n in (1, 2)]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, log)))
    assert read_log(tmp_path / "log.jsonl") == log
    assert read_log(tmp_path / "none.jsonl") == []
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert draw_curves({"a": log}, ["loss"], tmp_path) == []
    monkeypatch.undo()
    pytest.importorskip("matplotlib")
    assert draw_curves({"a": log, "b": log, "none": []}, ["loss", "unknown"], tmp_path) == ["curves.png"]
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (1100, 374)


def test_what_was_spent_in_words() -> None:
    assert spent([]) == "too short for its log"
    assert spent([{"step": 1, "samples": 2, "seconds": 3}, {"step": 20, "samples": 80, "seconds": 151}]) == (
        "20 steps, 80 samples, 3 minutes"
    )
    assert spent_in_words(1, 2, 89) == "1 steps, 2 samples, 1 minutes"
