"""``sanakit eval`` on folders of pictures: reports, and one sentence for what cannot be measured."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sanakit.cli.app import main
from sanakit.scoring.extractors.efficientnet_lite import EfficientNetLite0, load_efficientnet_lite0

SIZE = 40


def fill(folder: Path, num: int, seed: int) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for number in range(num):
        levels = rng.integers(256, size=(5, 5, 3), dtype=np.uint8)
        Image.fromarray(levels).resize((SIZE, SIZE + (number == 0))).save(folder / f"{number}.png")
    return folder


@pytest.fixture(autouse=True)
def load_the_network_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sanakit.scoring.extractors.load.load_efficientnet_lite0", _efficientnet)


@cache
def _efficientnet(*, device: str) -> EfficientNetLite0:
    return load_efficientnet_lite0(device=device)


def sentence(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main([str(word) for word in words]) in {1, 2}
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.fixture
def sets(tmp_path: Path) -> tuple[Path, Path]:
    return fill(tmp_path / "real", 6, 0), fill(tmp_path / "fake", 5, 1)


@pytest.mark.parametrize("command", ["fid", "kid"])
def test_distances_come_with_their_protocol_and_repeat(
    command: str, sets: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = []
    for number in range(2):
        file = tmp_path / f"{number}.json"
        assert main(["eval", command, *map(str, sets), "--halves", "10", "-q", "--output", str(file)]) == 0
        table = capsys.readouterr().out
        runs.append(json.loads(file.read_text()))
    assert runs[0] == runs[1]
    report = runs[0]
    for measurement in report["measurements"]:
        assert measurement["low"] <= measurement["value"] <= measurement["high"] or "without" in measurement["name"]
        assert measurement["num_samples"] == 5
        assert measurement["name"] in table
    assert report["inputs"]["real"]["sizes"] == "2 sizes, 40-40 wide, 40-41 high"
    assert report["networks"][0]["resize_rule"].startswith("antialiased bicubic")
    assert report["networks"][0]["dtype"] == "float32"
    assert {"sanakit", "torch", "numpy", "python"} <= report["versions"].keys()


def test_what_cannot_be_measured_is_one_sentence(
    sets: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real, fake = sets
    (tmp_path / "empty").mkdir()
    fill(tmp_path / "few", 3, 2)
    assert "same place" in sentence(capsys, "eval", "fid", real, real)
    assert "does not exist" in sentence(capsys, "eval", "fid", real, tmp_path / "nowhere")
    assert "is empty" in sentence(capsys, "eval", "kid", real, tmp_path / "empty")
    assert "holds 3 pictures" in sentence(capsys, "eval", "kid", real, tmp_path / "few")
    assert "is one picture" in sentence(capsys, "eval", "kid", real, fake / "0.png")
    assert "is a folder; name a file" in sentence(capsys, "eval", "kid", real, fake, "--output", tmp_path)
    for file in sorted(real.iterdir()):
        (tmp_path / "few" / file.name).write_bytes(file.read_bytes())
    assert "hold the same pictures" in sentence(capsys, "eval", "fid", real, tmp_path / "few", "-q")
    (fake / "0.png").write_bytes((fake / "0.png").read_bytes()[:100])
    assert "0.png" in sentence(capsys, "eval", "fid", real, fake, "-q")


def test_broken_pictures_are_counted_when_they_are_left_out(
    sets: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    real, fake = sets
    (real / "0.png").write_bytes(b"no picture")
    assert main(["eval", "fid", str(real), str(fake), "--skip-broken", "--halves", "4", "-q", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["inputs"]["real"]
    assert (facts["pictures"], facts["left_out"]) == (5, 1)
    assert "0.png" in facts["first_left_out"]


def test_reconstruction_of_a_folder(sets: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "reconstruction", "--data", str(sets[0]), "--halves", "4", "-q", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    found = {each["name"]: each for each in report["measurements"]}
    assert {"PSNR", "SSIM", "rFID", "rFID without bias"} == found.keys()
    assert 5 < found["PSNR"]["value"] < 50
    assert [each["key"] for each in report["details"]["pictures"]] == [f"{number}.png" for number in range(6)]
    assert report["settings"]["compression"] == 16  # so that 40 pixels are cut to 32


def test_pictures_without_texts_have_no_text_score(sets: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert "no texts" in sentence(capsys, "eval", "clip-score", sets[0])


def test_prompt_lists_are_read_before_anything_is_loaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["eval", "prompts", "--suite", "mjhq", "--output", tmp_path / "out", "--prompts"]
    assert "meta_data.json" in sentence(capsys, *words, tmp_path / "nowhere.json")
    (tmp_path / "meta_data.json").write_text('{"a": {"category": "food", "prompt": "a cake"}}')
    assert "--reference" in sentence(capsys, *words, tmp_path / "meta_data.json", "--reference", tmp_path / "no")
    assert not (tmp_path / "out").exists()
