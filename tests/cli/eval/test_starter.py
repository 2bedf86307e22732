"""``sanakit eval starter`` with a model that draws noise and a reader that sees a cat in everything."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sanakit.evaluation.worlds import sheets
from sanakit.evaluation.worlds.prompt_sets import Numbers
from sanakit.models.recogniser import RecogniserConfig
from sanakit.worlds.reading.read_scene import ReadObject, ReadScene

from ..conftest import Run


class SeesCats:
    name = weights_hash = resize_rule = "by hand"
    words = RecogniserConfig(
        names=("cat", "dog", "apple", "car"), colours=("red",), ground_colours=("white",), drawn_grounds=("night",),
        places=(),
    )  # fmt: skip

    def read(self, picture: NDArray[np.uint8]) -> ReadScene:
        cat = ReadObject(name="cat", colour=None, box=(0.2, 0.2, 0.8, 0.8), score=1.0)
        return ReadScene(objects=(cat,), ground="white")


@pytest.fixture(autouse=True)
def few_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    few = Numbers(names=4, seeds=2, singles=1, pairs=1, counts=1, words=1, looks=1, nouns=1, long=1)
    monkeypatch.setattr("sanakit.evaluation.worlds.prompt_sets.QUICK", few)
    monkeypatch.setattr("sanakit.scoring.reading.load.load_reader", lambda *_, **__: SeesCats())


@pytest.fixture
def names(tmp_path: Path) -> Path:
    path = tmp_path / "names.txt"
    path.write_text("# of the tiny bank\ncat\ndog\napple  # red\ncar\nunheard of\n")
    return path


def test_the_table_the_report_and_the_sheets(run: Run, tiny_model: Path, names: Path, tmp_path: Path) -> None:
    words = ["eval", "starter", "--model", tiny_model, "--bank", "tiny", "--names", names, "--quick"]
    drawn = ["--steps", 1, "--guidance-scale", 2.5, "--dtype", "float32", "--device", "cpu"]
    done = run(*words, *drawn, "-q", "--output", tmp_path / "score")
    assert done.code == 0
    again = next(line for line in done.out.splitlines() if line.startswith("again: "))
    assert again == (
        f"again: sanakit eval starter --model {tiny_model} --bank tiny --seed 0 --names {names} --steps 1 "
        "--guidance-scale 2.5 --dtype float32 --device cpu --quick"
    )
    assert "left out: 1 names of the model, which the bank does not have" in done.out
    facts = json.loads((tmp_path / "score" / "report.json").read_text())
    rows = {row["name"]: row for row in facts["details"]["rows"]}
    assert (rows["names"]["right"]["mean"], rows["names"]["right"]["num_samples"]) == (0.25, 4)  # the cat
    assert rows["names"]["ceiling"]["mean"] == 0.25
    assert facts["networks"][0]["name"] == "by hand"
    with Image.open(tmp_path / "score" / "names.png") as sheet:
        assert sheet.width > 4 * 32
    assert (tmp_path / "score" / "two-alike.png").exists() or "two alike" not in rows


def test_the_sheet_holds_every_prompt(
    run: Run, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(sheets.SHEET_PROMPTS) == 48
    monkeypatch.setattr(sheets, "SHEET_PROMPTS", sheets.SHEET_PROMPTS[:9])
    done = run("eval", "starter", "--model", tiny_model, "--sheet", "--steps", 1, "--output", tmp_path / "sheet.png")
    assert done.code == 0
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.height < 0.5 * sheet.width  # eight, and one below


def test_what_cannot_be_is_one_sentence(run: Run, tmp_path: Path) -> None:
    assert "give one of them" in run("eval", "starter", "--quick", "--full").err
    assert "sanakit data worlds build" in run("eval", "starter").err
    assert "cannot be read" in run("eval", "starter", "--bank", "tiny", "--names", tmp_path / "nowhere").err
