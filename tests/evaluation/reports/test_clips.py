"""Distances of clips: frames and wholes against plain definitions, steadiness, and what is left out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sanakit.cli.app import main
from sanakit.common.errors import PictureError, RequestError
from sanakit.evaluation.metrics.frechet import fit_gaussian, gaussian_distance
from sanakit.evaluation.reports.clip_distances import clips_report
from sanakit.evaluation.reports.clip_sets import ClipSet, clip_features, clips_in_memory, open_clips
from sanakit.pipelines.clips.passing import PassingFrames
from sanakit.pipelines.clips.writing import write_clip
from sanakit.scoring.extractors.of_clips import FrameStatistics, load_clip_extractor


class Means:
    """The mean of each colour as features."""

    name, weights_hash, resize_rule, num_features = "means", "0", "none", 3

    def __call__(self, images: Tensor) -> Tensor:
        return images.mean((2, 3)).float()


MEANS = Means()


def clips(num: int, seed: int, frames: int = 5) -> ClipSet:
    rng = np.random.default_rng(seed)
    return clips_in_memory("some", [rng.integers(256, size=(frames, 4, 6, 3), dtype=np.uint8) for _ in range(num)])


def test_numbers_are_those_of_plain_definitions() -> None:
    real, fake = (clip_features(clips(num, num), MEANS, FrameStatistics(MEANS)) for num in (7, 9))
    report = clips_report(real, fake, (MEANS, FrameStatistics(MEANS)), num_halves=4)
    plain = [fit_gaussian(each.frames.reshape(-1, 3)) for each in (real, fake)]
    assert report["frame FID"].value == pytest.approx(gaussian_distance(*plain))
    first = torch.tensor(real.frames[0])
    expected = torch.cosine_similarity(first[1:], first[:-1], dim=1).mean()
    assert real.consistency[0] == pytest.approx(float(expected))
    changes = np.abs(np.diff(real.frames[2], axis=0)).mean(0)
    np.testing.assert_allclose(real.clips[2], [*real.frames[2].mean(0), *changes], rtol=1e-5)
    assert report["clip FID"].num_samples == 7
    still = clips_in_memory("still", [np.full((4, 2, 2, 3), level, np.uint8) for level in (3, 200)])
    assert clip_features(still, MEANS, FrameStatistics(MEANS)).consistency == pytest.approx([1.0, 1.0])


def test_sets_that_give_no_number_are_refused() -> None:
    one = clip_features(clips(6, 0), MEANS, FrameStatistics(MEANS))
    with pytest.raises(RequestError, match="the same pictures"):
        clips_report(one, one, (MEANS, FrameStatistics(MEANS)))
    odd = clips_in_memory("odd", [np.zeros((length, 2, 2, 3), np.uint8) for length in (3, 4)])
    with pytest.raises(PictureError, match="of one length"):
        clip_features(odd, MEANS, FrameStatistics(MEANS))


def test_folders_of_clips_are_read_and_short_ones_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sanakit.scoring.extractors.load.load_efficientnet_lite0", lambda **_: MEANS)
    for name in ("real", "fake"):
        (tmp_path / name).mkdir()
        for number in range(5):
            frames = clips(1, 10 * number + len(name) + (name == "fake"), frames=9 if number else 3).read(0)
            write_clip(tmp_path / name / f"{number}.mp4", PassingFrames(frames.repeat(4, 1).repeat(4, 2)), 8, "mp4")
    found = open_clips(tmp_path / "real", num_frames=8, fps=8)
    assert (found.keys, len(found.problems)) == (("1", "2", "3", "4"), 1)
    assert found.read(0).shape == (8, 16, 24, 3)
    command = ["eval", "clips", str(tmp_path / "real"), str(tmp_path / "fake"), "--halves", "3", "--frames", "8"]
    assert main(command) == 0
    assert "frame FID" in capsys.readouterr().out
    assert main([*command[:-1], "40"]) == 2
    assert "shorter than 40 frames" in capsys.readouterr().err


def test_a_network_of_clips_gives_features_of_its_frames(tmp_path: Path) -> None:
    from transformers import VideoMAEConfig, VideoMAEModel

    torch.manual_seed(0)
    config = VideoMAEConfig(
        image_size=16, patch_size=8, num_frames=4, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16,
    )  # fmt: skip
    network = VideoMAEModel(config).eval()
    network.save_pretrained(tmp_path)
    rule = {"size": 16, "crop_size": 16, "resample": 2, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(rule))
    extractor = load_clip_extractor(str(tmp_path), MEANS)
    clip = torch.rand(7, 3, 16, 16)
    chosen = (clip[[0, 2, 4, 6]] - 0.5) / 0.25
    with torch.no_grad():
        expected = network(pixel_values=chosen[None]).last_hidden_state.mean(1)[0]
        torch.testing.assert_close(extractor(clip, torch.zeros(7, 3)), expected)
