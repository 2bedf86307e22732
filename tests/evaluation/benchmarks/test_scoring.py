"""Which networks a drawn prompt list is scored with."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sanakit.evaluation.benchmarks import scoring
from sanakit.evaluation.benchmarks.scoring import Networks


def drawn(suite: str, source: str) -> Any:
    entries = [SimpleNamespace(metadata={"include": [{"class": "cup"}, {"class": "dog"}]})]
    return SimpleNamespace(
        drawing=SimpleNamespace(prompts=SimpleNamespace(suite=suite, source=source, entries=entries))
    )


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    told: list[tuple[Any, ...]] = []

    def note(name: str) -> Any:
        return lambda *values, **named: told.append((name, *values, named)) or name  # type: ignore[func-returns-value]

    for name in (
        "load_extractor",
        "load_object_detector",
        "load_reader",
        "load_scorer",
        "geneval_report",
        "mjhq_report",
    ):
        monkeypatch.setattr(scoring, name, note(name))
    monkeypatch.setattr(scoring, "WorldDetector", lambda reader: ("worlds", reader))
    monkeypatch.setattr(scoring, "require_classes", note("require_classes"))
    return told


def test_geneval_by_the_reader_of_the_worlds_or_a_detector(loaded: list[tuple[Any, ...]]) -> None:
    assert Networks().score(drawn("geneval", "published"), settings={}) is None
    assert loaded == []
    assert Networks(device="cuda").score(drawn("geneval", "starter"), settings={}) == "geneval_report"
    assert loaded[0] == ("load_reader", {"device": "cuda"})
    assert loaded[1][2] == ("worlds", "load_reader")
    loaded.clear()
    assert Networks(detector="detr").score(drawn("geneval", "published"), settings={}) == "geneval_report"
    assert [each[0] for each in loaded] == ["load_object_detector", "require_classes", "geneval_report"]
    assert loaded[0][2]["colour_scorer"] is None
    assert loaded[1][1:3] == ("load_object_detector", {"cup", "dog"})


def test_mjhq_by_what_there_is(loaded: list[tuple[Any, ...]]) -> None:
    assert Networks().score(drawn("mjhq", "starter"), settings={}) is None
    assert Networks(detector="detr").score(drawn("dpg", "starter"), settings={}) is None
    assert Networks(scorer="clip").score(drawn("mjhq", "x"), settings={}) == "mjhq_report"
    assert [each[0] for each in loaded] == ["load_scorer", "mjhq_report"]
    assert loaded[-1][-1]["against"] is None
    assert loaded[-1][-1]["scorer"] == "load_scorer"
    loaded.clear()
    networks = Networks(reference=Path("mjhq"), extractor="inception", resize="clean", num_halves=7)
    assert networks.score(drawn("mjhq", "x"), settings={}) == "mjhq_report"
    assert loaded[0][1] == "inception"
    assert loaded[0][2]["resize"] == "clean"
    against = loaded[-1][-1]["against"]
    assert (against.folder, against.extractor, against.num_halves) == (Path("mjhq"), "load_extractor", 7)
    assert loaded[-1][-1]["scorer"] is None
    assert (Networks().num_halves, Networks().extractor) == (100, "efficientnet-lite0")
