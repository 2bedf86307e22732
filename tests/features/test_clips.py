from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.data.clip_files import write_clip
from tests.models.autoencoders.test_dc_ae_clips import small_picture

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.common.errors import RequestError
from sanakit.data.clip_bins import Cut, cut_of
from sanakit.data.samples import ClipFacts
from sanakit.features.configs import FilesData, ScenesData
from sanakit.features.encoders import Encoders
from sanakit.features.open import latent_data
from sanakit.features.work import Demand, Work
from sanakit.models.autoencoders.dc_ae_clips import TimeConfig, clips_of_pictures


@pytest.mark.parametrize(
    ("frames", "fps", "lengths", "rates", "expected"),
    [
        (48, 24, (17, 33), (8,), Cut(17, 8)),  # 2 s
        (48, 24, (17, 33), (8, 16), Cut(33, 16)),  # the higher rate, and its longest length
        (20, 24, (17,), (8, 16), None),
        (60, 29.97, (33,), (30, 16), Cut(33, 30)),
        (60, 10, (17,), (16, 24), Cut(17, 16)),  # frames come twice
        (30, 12, (9, 33), (12, 16), Cut(9, 12)),
    ],
)  # fmt: skip
def test_the_rate_is_the_clips_or_less_and_the_length_the_longest(
    frames: int, fps: float, lengths: tuple[int, ...], rates: tuple[float, ...], expected: Cut | None
) -> None:
    assert cut_of(ClipFacts(num_frames=frames, fps=fps), lengths, rates) == expected


def test_pictures_are_clips_of_one_frame_where_there_is_such_a_length() -> None:
    assert cut_of(None, (1, 17), (8,)) == Cut(1, 8)
    assert cut_of(None, (17,), (8,)) is None


@pytest.fixture
def encoders(tiny_bundle: ModelBundle) -> Encoders:
    clips = clips_of_pictures(small_picture(), TimeConfig(frames=2, channels=8, num_blocks=1), 0)
    return Encoders(autoencoder=lambda: clips, text=lambda: tiny_bundle.text_encoder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    write_clip(folder / "a.mp4")
    write_clip(folder / "b.mp4", step=0)
    write_clip(folder / "c.webm", size=(64, 96))
    write_clip(folder / "short.mp4", num_frames=4)
    Image.new("RGB", (48, 32)).save(folder / "still.png")
    for name in ("a", "b", "c", "short", "still"):
        (folder / f"{name}.txt").write_text(f"this is {name}")
    return folder


def test_clips_and_pictures_become_latents_by_length_and_shape(
    folder: Path, encoders: Encoders, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    demand = Demand(resolutions=(32,), batch_size=2, seed=0, frames=(1, 9), fps=(8,))
    config = FilesData(path=str(folder), cache_folder=str(tmp_path / "cache"))
    with caplog.at_level(logging.WARNING):
        data = latent_data(config, demand, Work(encoders=encoders))
    assert "short (0.33 s at 12 frames a second)" in caplog.text
    batches = [data.batch(number) for number in range(data.num_batches or 0)]
    shapes = sorted(tuple(batch.latent.shape[1:]) for batch in batches)
    assert shapes == [(4, 1, 13, 19), (4, 5, 13, 19), (4, 5, 19, 13)]
    captions = {sample.caption for number in range(3) for sample in data.describe(number)}  # type: ignore[attr-defined]
    assert "this is still" in captions
    assert "this is b" in captions  # nothing moves
    assert any(text.startswith("this is a motion score: ") for text in captions)
    fresh = latent_data(FilesData(path=str(folder), cache=False), demand, Work(encoders=encoders))
    for number, batch in enumerate(batches):
        torch.testing.assert_close(fresh.batch(number).latent, batch.latent)


def test_a_length_that_the_autoencoder_cannot_read_is_one_sentence(folder: Path, encoders: Encoders) -> None:
    demand = Demand(resolutions=(32,), batch_size=2, seed=0, frames=(8,), fps=(8,))
    with pytest.raises(RequestError, match="the nearest are 7 and 9"):
        latent_data(FilesData(path=str(folder)), demand, Work(encoders=encoders))


def test_scenes_in_motion_become_clips_and_still_ones_pictures_too(encoders: Encoders, tmp_path: Path) -> None:
    config = ScenesData(bank="tiny", num_captions=12, num_copies=2, cache_folder=str(tmp_path))
    demand = Demand(resolutions=(32,), batch_size=4, seed=0, frames=(5,), fps=(8,))
    data = latent_data(config, demand, Work(encoders=encoders))
    found = [data.batch(number) for number in range(data.num_batches or 0)]
    lengths = np.array([batch.latent.shape[2] for batch in found for _ in batch.latent])
    assert len(lengths) == 24
    assert set(lengths) == {1, 3}
    assert (lengths == 3).sum() > 12
