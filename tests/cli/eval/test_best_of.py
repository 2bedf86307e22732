"""``sanakit eval best-of`` with a model that draws noise and a reader that sees a cat in everything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sanakit.scoring.judges import load

from ..conftest import Run
from .test_starter import SeesCats


def test_the_table_and_the_report(run: Run, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def last(images: Any, texts: Any) -> list[float]:
        return [float(number) for number in range(len(images))]

    monkeypatch.setattr("sanakit.scoring.reading.load.load_reader", lambda *_, **__: SeesCats())
    monkeypatch.setattr(load.FoundJudge, "load", lambda self, words, device: last)
    words = ("eval", "best-of", "--model", tiny_model, "--best-of", 2, "--num-prompts", 2, "--steps", 2)
    done = run(*words, "--judge", "starter", "--drop-early", "--device", "cpu", "--output", tmp_path / "report.json")
    assert done.code == 0, done.err
    assert "best possible" in done.out
    assert "dropping early" in done.err.splitlines()[-1]
    facts = json.loads((tmp_path / "report.json").read_text())
    assert facts["settings"]["candidates"] == 2
    assert facts["settings"]["share of the steps"] < 1
    assert [each["name"] for each in facts["measurements"]][-1] == "lost"
    outcome = run(*words)
    assert (outcome.code, "needs a --judge" in outcome.err) == (2, True)
