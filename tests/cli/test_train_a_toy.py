"""A recipe is added by one module and one entry of a table, and the command trains, plans, resumes and replays it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from sanakit.training.recipes.recipe import RECIPES

SETTINGS: dict[str, Any] = {
    "type": "toy",
    "precision": "fp32",
    "log": {"steps": 1, "report_to": []},
    "checkpoints": {"minutes": None, "steps": 2},
    "stages": [
        {"name": "first", "batch_size": 8, "learning_rate": 0.05, "steps": 4},
        {"name": "second", "batch_size": 4, "learning_rate": 0.05, "steps": 4},
    ],
}


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    monkeypatch.setitem(RECIPES, "toy", "toy_recipe.ToyRecipe")
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(SETTINGS))
    return tmp_path / "toy.yaml"


def test_it_is_trained_planned_and_made_to_fit(run: Any, recipe: Path) -> None:
    outcome = run("train", recipe, "--output", "out")
    assert outcome.code == 0, outcome.err
    assert "slope: 2.0" in outcome.err
    assert "memory of a process in stage second" in outcome.err
    assert "step 8  loss" in outcome.err
    assert len(Path("out/log.jsonl").read_text().splitlines()) == 8
    assert torch.load("out/line.pt")["weight"].shape == (1, 1)
    refused = run("train", recipe, "--output", "small", "--fit", "40B")
    assert refused.code == 2
    assert "does not fit into 40 B" in refused.err
    fitted = run("train", recipe, "--output", "fitted", "--fit", "1GB")
    assert fitted.code == 0, fitted.err


def test_a_plan_trains_nothing_and_needs_no_device(run: Any, recipe: Path) -> None:
    outcome = run("train", recipe, "--plan", "--device", "cuda", "--output", "out")
    assert outcome.code == 0, outcome.err
    assert "stage second: batches of 4, rate 0.05, 4 steps, 16 samples a process" in outcome.out
    assert outcome.out.count("memory of a process in stage") == 2
    assert not Path("out").exists()
    fitted = run("train", recipe, "--plan", "--fit", "150B")
    assert fitted.code == 0, fitted.err
    assert "x" in next(line for line in fitted.out.splitlines() if line.startswith("stage first: batches of "))


def test_it_is_continued_to_the_bit(run: Any, recipe: Path) -> None:
    assert run("train", recipe, "--output", "whole", "--quiet").code == 0
    assert run("train", recipe, "--output", "parts", "--quiet", "--set", "stages.1.steps=1").code == 0
    assert run("train", recipe, "--output", "parts", "--quiet", "--set", "seed=1").code == 2
    assert run("train", recipe, "--output", "parts", "--quiet").code == 0
    first, second = (torch.load(f"{name}/line.pt") for name in ("whole", "parts"))
    assert torch.equal(first["weight"], second["weight"])


def test_a_bad_step_is_replayed(run: Any, recipe: Path) -> None:
    stopped = run("train", recipe, "--output", "bad", "--quiet", "--set", "slope=.nan")
    assert stopped.code == 1
    assert "step 1 has a loss of nan" in stopped.err
    repeated = run("train", "--replay", "bad/guard/step-1")
    assert repeated.code == 0, repeated.err
    assert "step 1 is reproduced" in repeated.out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["stages=[]"], "at least one stage"),
        (["stages.1.name=first"], "names of their own"),
        (["samples.prompts=[a cat]"], "a recipe of type toy draws no pictures"),
    ],
)
def test_what_it_does_not_do_is_refused(run: Any, recipe: Path, changes: list[str], message: str) -> None:
    outcome = run("train", recipe, "--output", "out", "--set", *changes)
    assert outcome.code == 2
    assert message in outcome.err


def test_what_was_called_otherwise_is_still_read_with_a_note(
    run: Any, recipe: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A recipe of 0.1.0, a run that it began, and a ``--set`` of its words."""
    assert run("train", recipe, "--output", "whole", "--quiet").code == 0
    old = {"phases" if name == "stages" else name: value for name, value in SETTINGS.items()}
    recipe.write_text(yaml.safe_dump(old))
    begun = run("train", recipe, "--output", "out", "--set", "phases.1.steps=2")
    assert begun.code == 0, begun.err
    assert caplog.text.count("phases: in a recipe is called stages: now") == 1
    Path("out/recipe.yaml").write_text(Path("out/recipe.yaml").read_text().replace("stages:", "phases:"))
    assert run("train", recipe, "--output", "out", "--quiet").code == 0
    first, second = (torch.load(f"{name}/line.pt") for name in ("whole", "out"))
    assert torch.equal(first["weight"], second["weight"])
