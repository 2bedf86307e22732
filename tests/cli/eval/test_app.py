"""``sanakit eval`` on folders of pictures: reports, and one sentence for what cannot be measured."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

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
    assert report["measurements"][0]["name"] == "KID"  # five pictures and 1280 features
    for measurement in report["measurements"]:
        assert measurement["name"] in table
        if measurement["name"] == "FID without bias":
            assert measurement["value"] is None
            assert measurement["reason"] in table
            continue
        assert measurement["low"] <= measurement["value"] <= measurement["high"]
        assert measurement["num_samples"] == 5
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
    assert "nothing.txt" in sentence(capsys, "eval", "motion", "--bank", "tiny", "--names", tmp_path / "nothing.txt")
    for command in ("fid", "kid", "clips"):
        assert "--limit 2: too few" in sentence(capsys, "eval", command, real, fake, "--limit", "2")
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


class MeanColour:
    name = weights_hash = resize_rule = "mean colour"
    num_features = 3

    def __call__(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))


def test_prompts_are_drawn_once_and_scored(
    tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a score, again without drawing, then with one; a second run of other settings is refused."""
    listed = {str(number): {"category": "food", "prompt": f"a cake {number}"} for number in range(5)}
    (tmp_path / "meta_data.json").write_text(json.dumps(listed))
    words = ["eval", "prompts", "--suite", "mjhq", "--prompts", str(tmp_path / "meta_data.json"), "--limit", "4"]
    words += ["--output", str(tmp_path / "out"), "--model", str(tiny_model), "--steps", "1", "--seed", "3"]
    words += ["--device", "cpu"]
    assert main([*words, "--no-score"]) == 0
    assert "4 pictures drawn, 0 were there" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "out" / "pictures" / "food").iterdir()) == [
        f"{number}.png" for number in range(4)
    ]
    facts = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (facts["suite"], facts["num_prompts"], facts["num_images"], facts["seed"]) == ("mjhq", 4, 1, 3)
    assert (facts["steps"], facts["model"], len(facts["model_hash"])) == (1, "tiny", 64)
    assert main(words) == 0
    told = capsys.readouterr().err
    assert "0 pictures drawn, 4 were there" in told
    assert "not scored; that needs --reference, --scorer or both" in told
    assert not (tmp_path / "out" / "report.json").exists()
    monkeypatch.setattr("sanakit.evaluation.benchmarks.scoring.load_extractor", lambda *_, **__: MeanColour())
    fill(tmp_path / "real", 5, 0)
    assert main([*words, "--reference", str(tmp_path / "real"), "--halves", "4", "-q"]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [each["name"] for each in report["measurements"]] == ["FID", "FID without bias"]
    assert report["settings"]["steps"] == 1
    assert report["inputs"]["prompts"]["prompts"] == 4
    assert "FID" in capsys.readouterr().out
    words[words.index("--steps") + 1] = "2"
    assert main(words) == 2
    assert "is of another run (num_inference_steps 1, not 2)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        (("clip-score", "pictures"), "starter"),
        (("fid", "a", "b"), "efficientnet-lite0"),
        (
            ("prompts", "--suite", "mjhq", "--prompts", "p.json", "-o", "o", "--scorer", "org/s"),
            "starter or eff.* or org/s",
        ),
    ],
)
def test_code_of_a_source_that_is_not_named_is_refused(
    words: tuple[str, ...], allowed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", *words, "--trust-remote-code", "org/stranger"]) == 2
    refused = "sanakit: --trust-remote-code org/stranger is no source whose own code could be run here; that would be"
    assert re.fullmatch(rf"{refused} {allowed}\n", capsys.readouterr().err)


def test_spared_calls_are_measured_against_all(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["eval", "quantized", str(tiny_model), "--steps", "6", "--num-prompts", "1"]
    assert "--reuse or --guidance-interval" in sentence(capsys, *words)
    assert main([*words, "--reuse", "0.9", "--guidance-interval", "0.2", "0.8", "-q", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["settings"]["reuse"] == 0.9
    assert report["settings"]["guidance between"] == "(0.2, 0.8)"
    assert report["measurements"][2]["value"] < 100  # dB of the latent: other calls, another picture
