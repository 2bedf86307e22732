"""Sentences about what is not simply used: how many are shown, and how the rest is counted."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from sanakit.data.caption_choice import ExponentialChoice, PowerLawChoice
from sanakit.data.fates import fates, never_drawn, some
from sanakit.data.samples import Caption, Problem, Sample


def problems(number: int, **how: object) -> list[Problem]:
    return [Problem(key=str(index), reason="too_small", detail="tiny", **how) for index in range(number)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("number", "end"), [(1, "0 (tiny)"), (3, "2 (tiny)"), (4, "2 (tiny); and 1 more"), (9, "2 (tiny); and 6 more")]
)
def test_three_are_shown_and_the_rest_is_counted(number: int, end: str) -> None:
    assert some(problems(number)).endswith(end)


def test_what_is_left_out_comes_before_what_is_used() -> None:
    found = [*problems(1, used=True), *problems(2), Problem(key="a", reason="bad_record", detail="odd")]
    source = SimpleNamespace(problems=found, unused_files=("2 files",))
    assert fates(source) == [  # type: ignore[arg-type]
        "left out, 1 bad_record: a (odd)",
        "left out, 2 too_small: 0 (tiny); 1 (tiny)",
        "used all the same, 1 too_small: 0 (tiny)",
        "not used, 2 files",
    ]


@pytest.mark.parametrize(
    ("choice", "scores", "reason"),
    [
        (ExponentialChoice(temperature=0.0), (1.0, 2.0), "they score too far below the best for .*temperature=0$"),
        (ExponentialChoice(), (None, 2.0), "they have no score, and others of their picture have"),
        (PowerLawChoice(threshold=3.0), (1.0, 2.0), "no caption of their picture reaches .*threshold=3, so the best"),
        (PowerLawChoice(threshold=2.0), (1.0, 2.0), "they score less than caption_choice.threshold=2;"),
        (PowerLawChoice(), (0.0, 2.0), "a score of 0 or less weighs nothing"),
    ],
)
def test_why_a_caption_is_never_drawn(
    choice: ExponentialChoice | PowerLawChoice, scores: tuple[float | None, float], reason: str
) -> None:
    captions = tuple(
        Caption(source=name, text="x", score=score) for name, score in zip(("prompt", "b"), scores, strict=True)
    )
    samples = [
        Sample(key="one", width=1, height=1, captions=captions[:1]),
        Sample(key="two", width=1, height=1, captions=captions),
    ]
    (sentence,) = never_drawn(samples, [0, 1], choice)  # type: ignore[arg-type]
    assert sentence.startswith("1 of 3 captions are never drawn, prompt of two for one: ")
    assert re.search(reason, sentence)
