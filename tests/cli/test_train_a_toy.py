"""A recipe is added by one module and one entry of a table, and the command trains, plans, resumes and replays it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from sanakit.kernels.compiler import compiler_problem
from sanakit.training.recipes.recipe import RECIPES
from sanakit.training.run.run_lock import only_sitting

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


@pytest.fixture
def no_compiler() -> Iterator[None]:
    from torch._inductor import config

    with config.patch({"cpp.cxx": (None, "no-such-compiler")}):
        yield


def test_what_cannot_be_compiled_goes_on_with_a_note_or_is_refused_first(
    run: Any, recipe: Path, no_compiler: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sanakit.training.recipes.planning.native_library", lambda: None)
    refused = run("train", recipe, "--output", "refused", "--set", "compile=true")
    assert refused.code == 2
    assert "compile: true cannot be done here (" in refused.err
    assert "use compile: auto" in refused.err
    assert not Path("refused/checkpoints").exists()
    assert run("train", recipe, "--output", "out", "--set", "compile=auto", "--set", "stages.1.steps=1").code == 0
    assert caplog.text.count("compile: auto goes on uncompiled") == 1
    assert "no-such-compiler" in caplog.text
    assert yaml.safe_load(Path("out/recipe.yaml").read_text())["compile"] == "auto"
    assert run("train", recipe, "--output", "out", "--set", "compile=false").code == 0  # the same run


def test_auto_compiles_nothing_where_native_kernels_train(
    run: Any, recipe: Path, no_compiler: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sanakit.training.recipes.planning.native_library", object)
    options = ("--set", "compile=auto", "--set", "precision=fp32", "--set", "stages.1.steps=1")
    assert run("train", recipe, "--output", "out", *options).code == 0
    assert "no-such-compiler" not in caplog.text


def test_a_setuptools_that_came_too_late_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("distutils/core.py")  # what setuptools says where distutils is loaded from elsewhere

    monkeypatch.setattr("sanakit.kernels.compiler.import_module", refuse)
    monkeypatch.setattr("torch.compile", refuse)
    assert compiler_problem("cpu") == "distutils/core.py"


@pytest.mark.parametrize("word", ["--quiet", "-q"])
def test_quiet_is_quiet(run: Any, recipe: Path, caplog: pytest.LogCaptureFixture, word: str) -> None:
    outcome = run("train", recipe, "--output", "out", word)
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    frozen = ("--set", "stages.0.learning_rate=1e-300")
    quiet = run("train", recipe, "--output", "still", *frozen, word)
    assert (quiet.code, quiet.out, quiet.err.count("\n")) == (2, "", 1)
    assert [record for record in caplog.records if record.name.startswith("sanakit")] == []
    assert run("train", recipe, "--output", "told", *frozen).code == 2
    assert "nothing is learned" in caplog.text


def test_a_run_that_goes_on_already_is_left_alone(run: Any, recipe: Path) -> None:
    with only_sitting(Path("out")):
        outcome = run("train", recipe, "--output", "out")
    assert outcome.code == 2
    assert f"the run in out is going on already, in process {os.getpid()} on " in outcome.err
    assert [path.name for path in Path("out").iterdir()] == [".lock"]
    assert run("train", recipe, "--output", "out", "-q").code == 0


def test_checkpoints_are_told_before_the_run_and_have_room(
    run: Any, recipe: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Two numbers, their averages, and AdamW's two moments and a counter of each, in four bytes."""
    words = ("--set", "checkpoints.keep_last=3", "--set", "checkpoints.keep_every_steps=4")
    planned = run("train", recipe, "--plan", *words)
    assert "disk: 40 B a checkpoint, 160 B with 3 kept and one being written, and one for good every 4" in planned.out
    usage = type(shutil.disk_usage("."))
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(1000, 990, 10))
    refused = run("train", recipe, "--output", "out")
    assert refused.code == 1
    assert "the disk of out has 10 B left, and a checkpoint of this run takes about 40 B; free some" in refused.err
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(1000, 950, 50))
    told = run("train", recipe, "--output", "out", *words)
    assert told.code == 0, told.err
    assert "the disk of out has 50 B left, and its checkpoints will take about 160 B" in caplog.text
