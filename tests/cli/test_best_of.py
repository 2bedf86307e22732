"""``sanakit generate --best-of`` with a tiny model and a judge that looks at brightness."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sanakit.cli.terminal.best_of import weighted
from sanakit.pipelines.picture_file import read_record
from sanakit.scoring.judges import load


class Bright:
    name, weights_hash = "bright", "abc"

    def __init__(self) -> None:
        self.looked = 0
        self.dies_after = 10**6

    def __call__(self, images: Any, texts: Any) -> list[float]:
        self.looked += len(images)
        if self.looked > self.dies_after:
            raise KeyboardInterrupt
        return [float(np.asarray(image).mean()) for image in images]


@pytest.fixture
def bright(monkeypatch: pytest.MonkeyPatch) -> Bright:
    judge = Bright()
    monkeypatch.setattr(load.FoundJudge, "load", lambda self, words, device: judge)
    return judge


@pytest.fixture
def generate(run: Any, tiny_model: Path) -> Any:
    how = ("--model", tiny_model, "--device", "cpu", "--steps", "1", "--judge", "starter")
    return lambda *words: run("generate", *words, *how)


def test_a_run_that_was_stopped_goes_on(generate: Any, run: Any, bright: Bright, tiny_model: Path) -> None:
    Path("prompts.txt").write_text("a cat\na dog\na cat\na cow\n")
    words = ("--prompt-file", "prompts.txt", "--best-of", "3", "--output", "out")
    bright.dies_after = 5
    outcome = generate(*words)
    assert (outcome.code, len(list(Path("out").iterdir()))) == (130, 1)
    assert "1 of 3 pictures were finished and are kept" in outcome.err
    (first,) = Path("out").iterdir()
    before, bright.dies_after, bright.looked = first.stat().st_mtime_ns, 10**6, 0
    outcome = generate(*words, "--json")
    assert "1 of 3 prompts are finished already" in outcome.err
    assert (bright.looked, first.stat().st_mtime_ns) == (6, before)
    assert len(json.loads(outcome.out)["pictures"]) == 2
    choice = read_record(first).choice
    assert choice is not None
    assert [each.seed for each in choice.candidates] == [0, 1, 2]
    assert run("replay", first, "--model", tiny_model).out == "identical\n"
    assert generate(*words).code == 0
    assert (bright.looked, len(list(Path("out").iterdir()))) == (6, 3)
    assert generate(*words, "--seed", "1").code == 0  # which is another wish
    assert len(list(Path("out").iterdir())) == 6


def test_winners_that_are_missing_are_made_again(generate: Any, bright: Bright) -> None:
    words = ("a cat", "--best-of", "4", "--keep", "2", "--mode", "bracket", "--drop-early", "--output", "out")
    assert generate(*words).code == 0
    both = {file.name: file.read_bytes() for file in Path("out").iterdir()}
    assert len(both) == 2
    min(Path("out").iterdir()).unlink()
    outcome = generate(*words)
    assert outcome.out.strip() == f"out/{min(both)}"
    assert {file.name: file.read_bytes() for file in Path("out").iterdir()} == both


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--best-of", "0"), "best_of=0 is not usable"),
        (("--best-of", "2", "--keep", "3"), "of 2 candidates 1 to 2 can stay"),
        (("--best-of", "2", "--num-images", "2"), "--num-images 2 has no meaning beside --best-of"),
        (("--best-of", "4", "--keep", "2", "--output", "a.png"), "is one file for 2 pictures"),
        (("--best-of", "500", "--output", "a.jpg"), "with 500 scores does not fit"),
        (("--best-of", "2", "--judge", "nobody"), "nobody is no folder with a config.json and no hub id"),
        (("--best-of", "2", "--judge", "starter=-1"), "a number above 0"),
        (("--best-of", "2", "--trust-remote-code", "other"), "is no source whose own code could be run here"),
        (("--keep", "2"), "say how --best-of N chooses"),
    ],
)
def test_what_cannot_work_is_one_sentence(generate: Any, words: tuple[str, ...], told: str) -> None:
    outcome = generate("a cat", *words)
    assert (outcome.code, outcome.err.count("\n"), told in outcome.err) == (2, 1, True), outcome.err
    assert not list(Path().glob("*.png"))


def test_another_model_than_the_starter_needs_a_judge(run: Any, tiny_model: Path) -> None:
    outcome = run("generate", "a cat", "--best-of", "2", "--model", tiny_model)
    assert (outcome.code, "needs a --judge" in outcome.err) == (2, True)


def test_weights_of_judges() -> None:
    assert weighted("reader") == ("reader", 1.0)
    assert weighted("org/model=0.25") == ("org/model", 0.25)
    assert weighted("./a=b/clip") == ("./a=b/clip", 1.0)
