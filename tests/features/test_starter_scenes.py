"""The starter's scenes: what they always were, cached once, and quick to put together."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sanakit.common.errors import ConfigError, RequestError
from sanakit.features import scenes, starter_scenes
from sanakit.features.batches import PixelBatch, TrainingData
from sanakit.features.configs import StarterPictures, StarterScenesData
from sanakit.features.encoders import Encoders
from sanakit.features.open import latent_data, pixel_data
from sanakit.features.pixel_tensors import encode_pictures
from sanakit.features.scenes import CachedScenes
from sanakit.features.starter_scenes import paint
from sanakit.features.work import Demand, Work
from sanakit.worlds.scenes.scenes import StarterScenes
from sanakit.worlds.scenes.sprites import load_sprite_bank

CONFIG = StarterScenesData(num_captions=10, num_copies=3, seed=5)


@pytest.fixture
def config(tmp_path: Path) -> StarterScenesData:
    return replace(CONFIG, cache_folder=str(tmp_path / "cache"))


def open_scenes(
    config: StarterScenesData, encoders: Encoders, *, resolutions: tuple[int, ...] = (64,), batch_size: int = 4
) -> CachedScenes:
    data = latent_data(config, Demand(resolutions=resolutions, batch_size=batch_size, seed=0), Work(encoders=encoders))
    assert isinstance(data, CachedScenes)
    return data


def test_every_painting_comes_once_with_its_own_text(config: StarterScenesData, encoders: Encoders) -> None:
    stream = StarterScenes(load_sprite_bank(), "train", 5)
    paintings = [paint(stream, 5, copy, index, 64) for copy in range(3) for index in range(10)]
    latents = encode_pictures(encoders.autoencoder, paintings, "cpu", quick=True).float().flatten(1)
    texts = [encoders.text.encode([stream.truth(index)[1]])[0].embeds[0] for index in range(10)]
    data, found = open_scenes(config, encoders), []
    for number in range(data.num_batches, 2 * data.num_batches):
        batch = data.batch(number)
        assert len(batch.latent) == data.num_samples(number)
        for row in range(len(batch.latent)):
            painting = int((latents - batch.latent[row].flatten()).square().sum(dim=1).argmin())
            text = texts[painting % 10]
            assert batch.text.mask[row].tolist() == [i < len(text) for i in range(batch.text.mask.shape[1])]
            torch.testing.assert_close(batch.text.embeds[row, : len(text)], text, rtol=1e-4, atol=1e-4)
            assert not batch.text.embeds[row, len(text) :].any()
            torch.testing.assert_close(batch.latent[row].flatten(), latents[painting], rtol=0.05, atol=0.05)
            found.append(painting)
    assert sorted(found) == list(range(30))


def test_a_second_run_computes_nothing(
    config: StarterScenesData, encoders: Encoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_scenes(config, encoders).batch(3)
    monkeypatch.setattr(scenes, "encode_pictures", None)
    again = open_scenes(config, encoders).batch(3)
    assert torch.equal(first.latent, again.latent)
    assert torch.equal(first.text.embeds, again.text.embeds)
    monkeypatch.undo()
    other_size = open_scenes(config, encoders, resolutions=(32,))
    assert other_size.batch(0).latent.shape[-2:] == (2, 2)


def test_several_resolutions_in_one_run(config: StarterScenesData, encoders: Encoders) -> None:
    data = open_scenes(config, encoders, resolutions=(64, 32), batch_size=4)
    shapes = Counter()
    for number in range(data.num_batches):
        batch = data.batch(number)
        shapes[batch.latent.shape[-1]] += len(batch.latent)
    assert shapes == {4: 15, 2: 15}


def test_thousands_in_memory_are_put_together_in_a_moment() -> None:
    latents = torch.randn(72_000, 4, 4, 4).bfloat16()
    texts = [torch.randn(5 + number % 20, 64).bfloat16() for number in range(500)]
    places = np.stack([np.zeros(72_000, np.int64), np.arange(72_000)], axis=1)
    demand = Demand(resolutions=(64,), batch_size=32, seed=0)
    data = CachedScenes([latents], places, texts, np.arange(24_000) % 500, demand)
    data.batch(0)
    start = time.process_time()
    for number in range(50):
        data.batch(number)
    assert (time.process_time() - start) / (50 * 32) < 1e-3


def test_scenes_are_what_the_version_says() -> None:
    """If this fails, cached latents would not be those of the scenes: give SCENES_VERSION its next number."""
    scenes = StarterScenes(load_sprite_bank(), "train", 7)
    digest = hashlib.sha256()
    for copy, index in ((0, 0), (1, 5), (2, 31), (0, 99)):
        digest.update(scenes.truth(index)[1].encode())
        digest.update(paint(scenes, 7, copy, index, 64).tobytes())
    assert (starter_scenes.SCENES_VERSION, digest.hexdigest()[:16]) == ("1", "b659734f598a024e")


def test_composed_scenes_never_end_and_follow_from_their_number() -> None:
    def data(seed: int = 0, crop: int | None = None) -> TrainingData[PixelBatch]:
        return pixel_data(
            StarterPictures(seed=3), Demand(resolutions=(64,), batch_size=4, seed=seed), multiple=16, crop=crop
        )

    whole, windows = data(), data(crop=32)
    assert whole.num_batches is None
    assert whole.num_samples(10**9) == 4
    batch = whole.batch(12345)
    assert batch.pixels.shape == (4, 3, 64, 64)
    assert batch.pixels.dtype == torch.float32
    assert batch.pixels.min() >= -1
    assert batch.pixels.max() <= 1
    assert torch.equal(batch.pixels, data().batch(12345).pixels)
    assert not torch.equal(batch.pixels, whole.batch(12346).pixels)
    assert not torch.equal(batch.pixels, data(seed=1).batch(12345).pixels)
    window = windows.batch(12345).pixels[0]
    assert window.shape == (3, 32, 32)
    places = [
        (y, x) for y in range(33) for x in range(33) if torch.equal(batch.pixels[0][:, y : y + 32, x : x + 32], window)
    ]
    assert places


def test_what_does_not_fit_is_refused(config: StarterScenesData, encoders: Encoders) -> None:
    with pytest.raises(RequestError, match="multiples of 16"):
        open_scenes(config, encoders, resolutions=(40,))
    with pytest.raises(RequestError, match="one resolution"):
        pixel_data(StarterPictures(), Demand(resolutions=(64, 32), batch_size=1, seed=0), multiple=16)
    with pytest.raises(RequestError, match="window of 80 px"):
        pixel_data(StarterPictures(), Demand(resolutions=(64,), batch_size=1, seed=0), multiple=16, crop=80)
    with pytest.raises(ConfigError, match="num_copies=0"):
        StarterScenesData(num_copies=0)
