"""VBench: its list, its names, a run that goes on, and numbers against plain definitions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sanakit.cli.app import main
from sanakit.common.errors import RequestError
from sanakit.evaluation.benchmarks.vbench import read_vbench
from sanakit.evaluation.benchmarks.vbench_score import check_dimensions, flickering, resized, steadiness
from sanakit.scoring.extractors.vision_tower import load_first_token

ROWS = [
    {"prompt_en": "In a still frame, a stop sign", "dimension": ["temporal_flickering"]},
    {"prompt_en": "a person swimming in ocean", "dimension": ["subject_consistency", "dynamic_degree"]},
    {"prompt_en": "a person swimming in ocean", "dimension": ["motion_smoothness"]},
]


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    path = tmp_path / "VBench_full_info.json"
    path.write_text(json.dumps(ROWS))
    return path


def test_the_list_names_clips_as_the_scorer_looks_for_them(listed: Path, tmp_path: Path) -> None:
    found = read_vbench(listed)
    assert [(each.num, each.first) for each in found.prompts] == [(25, 0), (5, 25)]
    assert found.prompts[1].dimensions == ("subject_consistency", "dynamic_degree", "motion_smoothness")
    assert found.prompts[1].files(Path("x"))[4] == Path("x/videos/a person swimming in ocean-4.mp4")
    assert found.of(["dynamic_degree"]).num_clips == 5
    for content, words in (
        ("[]", "no prompts"), ('{"a": 1}', "is not VBench"), ("x", "is not VBench"),
        ('[{"prompt_en": "a/../b", "dimension": ["color"]}]', "no file's name"),
    ):  # fmt: skip
        listed.write_text(content)
        with pytest.raises(RequestError, match=words):
            read_vbench(listed)
    with pytest.raises(RequestError, match="cannot be read"):
        read_vbench(tmp_path / "none.json")


def test_a_run_draws_what_is_missing_and_scores(
    listed: Path, tmp_path: Path, clip_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["eval", "vbench", str(listed), "--model", str(clip_model), "--output", str(tmp_path / "out"),
               "--num", "1", "--frames", "5", "--steps", "1", "--guidance-scale", "1"]  # fmt: skip
    assert main(command) == 0
    videos = tmp_path / "out" / "videos"
    names = sorted(path.name for path in videos.iterdir())
    assert names == ["In a still frame, a stop sign-0.mp4", "a person swimming in ocean-0.mp4"]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert 0 < report["measurements"][0]["value"] <= 1
    assert report["measurements"][0]["name"] == "temporal_flickering"
    assert (report["settings"]["frames"], report["settings"]["size"]) == (5, "the model's own")
    assert {each["reason"] for each in report["measurements"][1:]} == {
        "its networks are not named", "no prompt of the list is of it",
    }  # fmt: skip
    kept = (videos / names[1]).stat().st_mtime_ns
    (videos / names[0]).write_bytes(b"cut off")
    capsys.readouterr()
    assert main([*command, "--no-score"]) == 0
    assert "1 clips drawn, 1 were there" in capsys.readouterr().err
    assert (videos / names[1]).stat().st_mtime_ns == kept
    assert main([*command, "--seed", "3"]) == 2
    assert "is of another run (seed)" in capsys.readouterr().err


def test_numbers_are_those_of_plain_definitions() -> None:
    frames = np.zeros((3, 2, 2, 3), np.uint8)
    frames[1], frames[2] = 51, 255
    assert flickering(frames) == pytest.approx(1 - (51 + 204) / 2 / 255)
    one, other = torch.tensor([1.0, 0.0]), torch.tensor([0.6, 0.8])
    assert steadiness(torch.stack([one, other, -one])) == pytest.approx(((0.6 + 0.6) / 2 + 0.0) / 2)
    assert (flickering(frames[:1]), steadiness(one[None])) == (1, 1)
    assert resized(torch.rand(1, 3, 30, 61), bicubic=False, crop=False).shape == (1, 3, 224, 455)
    assert resized(torch.rand(1, 3, 61, 30), bicubic=True, crop=True).shape == (1, 3, 224, 224)


def test_what_is_not_scored_is_told() -> None:
    with pytest.raises(RequestError, match="needs RAFT"):
        check_dimensions(["temporal_flickering", "dynamic_degree"])
    with pytest.raises(RequestError, match="is no dimension of VBench"):
        check_dimensions(["beauty"])


def test_dino_gives_its_first_token_of_any_size(tmp_path: Path) -> None:
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(0)
    config = ViTConfig(
        image_size=16, patch_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    network = ViTModel(config, add_pooling_layer=False).eval()
    network.save_pretrained(tmp_path)
    tower, pixels = load_first_token(str(tmp_path)), torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        expected = network(pixel_values=pixels).last_hidden_state[:, 0]
    torch.testing.assert_close(tower.features(pixels), expected)
    assert tower.features(torch.rand(1, 3, 16, 24)).shape == (1, 16)
