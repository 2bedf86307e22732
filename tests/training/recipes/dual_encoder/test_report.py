"""What a dual encoder's run leaves behind, with stand-ins for the networks: scores, page, progress, and no reader."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sanakit.common.pixels import Picture
from sanakit.evaluation.benchmarks import dual_encoder_score
from sanakit.evaluation.reports.report import Report, mean_of
from sanakit.training.recipes.dual_encoder import report as module
from sanakit.training.recipes.dual_encoder.report import report_dual_encoder, through

RECIPE = {"type": "dual_encoder", "name": "test", "data": {"bank": "tiny", "names": None}}


class Brightness:
    """The vector of a picture says how bright it is, that of a text how long."""

    name, weights_hash, resize_rule = "stand-in", "none", "none"

    def __init__(self, *networks: object, device: str) -> None:
        self.device = device

    def embed_pictures(self, images: Sequence[Image.Image]) -> torch.Tensor:
        bright = torch.tensor([float(np.asarray(image).mean()) / 255 for image in images])
        return torch.stack([bright, 1 - bright], dim=1)

    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        lengths = torch.tensor([len(text) / 100 for text in texts])
        return torch.stack([lengths, 1 - lengths], dim=1)


@pytest.fixture
def run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    line = {"step": 1, "samples": 6, "seconds": 1.0, "loss": 1.0, "own_caption_first": 0.5, "stage": 0}
    (tmp_path / "log.jsonl").write_text("".join(json.dumps({**line, "step": step}) + "\n" for step in (1, 2)))
    monkeypatch.setattr(dual_encoder_score, "RETRIEVAL_SIZE", 4)
    monkeypatch.setattr(module, "_NUM_SCENES", 4)
    monkeypatch.setattr(module, "load_dual_encoder", lambda folder: SimpleNamespace(config=None))
    monkeypatch.setattr(module, "load_scorer_text_encoder", lambda config, device: None)
    monkeypatch.setattr(module, "DualEncoderScorer", Brightness)
    monkeypatch.setattr(module, "starter_autoencoder", lambda device: None)
    monkeypatch.setattr(module, "through", lambda autoencoder: lambda pictures: [255 - picture for picture in pictures])
    return tmp_path


@pytest.mark.parametrize("reads", [True, False])
def test_scores_page_and_progress(run_folder: Path, reads: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    best = Report(
        title="best", protocol="", measurements=(mean_of("gain", [0.0, 1.0], seed=0),), seed=0, inputs={}, settings={}
    )
    monkeypatch.setattr(module, "has_reader", lambda: reads)
    monkeypatch.setattr(module, "best_of", lambda *_: best)
    told: list[tuple[int, int, str]] = []
    page = report_dual_encoder(RECIPE, run_folder, on_progress=lambda *facts: told.append(facts))
    scores = json.loads((run_folder / "scores.json").read_text())
    assert scores.keys() == {"painted", "reconstructed"} | ({"best_of"} if reads else set())
    for name in ("painted", "reconstructed"):
        assert scores[name]["networks"][0]["name"] == "stand-in"
        assert scores[name]["inputs"]["scenes"] == {"of each kind": 4}
    values = [[each["value"] for each in scores[name]["measurements"]] for name in ("painted", "reconstructed")]
    assert values[0] != values[1]  # the second are of altered pictures
    assert [done for done, total, _ in told].count(told[0][1]) == 2  # both reach their end
    assert "own caption first of 4" in page.read_text()
    assert ("gain 50.0%" in page.read_text()) == reads


def test_pictures_pass_through_the_autoencoder_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def darker(pixels: torch.Tensor, autoencoder: object, noise: torch.Tensor, generator: object) -> torch.Tensor:
        sizes.append(len(pixels))
        assert not noise.any()
        return pixels / 2

    monkeypatch.setattr(module, "reconstructed", darker)
    pictures: list[Picture] = [np.full((4, 4, 3), 2 * level, np.uint8) for level in range(40)]
    autoencoder: Any = None
    assert [int(picture.mean()) for picture in through(autoencoder)(pictures)] == list(range(40))
    assert sizes == [32, 8]
