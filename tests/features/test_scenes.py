"""Scenes of a bank as training data: cached by content, with short and long texts apart, composed without end."""

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
from sanakit.features import scenes
from sanakit.features.configs import ScenePictures, ScenesData
from sanakit.features.contrasts import contrasts
from sanakit.features.encoders import Encoders
from sanakit.features.open import latent_data, pixel_data
from sanakit.features.pixel_tensors import encode_pictures
from sanakit.features.scenes import CachedScenes, ComposedScenes, Paintings, open_bank, scene_pixels
from sanakit.features.work import Demand, Work
from sanakit.worlds.banks.bank_files import load_bank
from sanakit.worlds.scenes.description import Box
from sanakit.worlds.telling.wrong_captions import WRONG_WORDS


@pytest.fixture
def config(tmp_path: Path, bank: str) -> ScenesData:
    return ScenesData(bank=bank, num_captions=12, num_copies=2, seed=5, cache_folder=str(tmp_path / "cache"))


def opened(config: ScenesData, encoders: Encoders) -> CachedScenes:
    demand = Demand(resolutions=(64,), batch_size=4, seed=0)
    data = latent_data(config, demand, Work(encoders=encoders))
    assert isinstance(data, CachedScenes)
    return data


def test_every_painting_comes_once_with_its_own_text(config: ScenesData, encoders: Encoders) -> None:
    paintings = Paintings(load_bank(config.bank), 5)
    pictures = [paintings.paint(copy, index, 64) for copy in range(2) for index in range(12)]
    latents = encode_pictures(encoders.autoencoder, pictures, "cpu", quick=True).float().flatten(1)
    texts = [encoders.text.encode([paintings.caption(index)])[0].embeds[0] for index in range(12)]
    data, found = opened(config, encoders), []
    for number in range(data.num_batches):
        batch = data.batch(number)
        for row in range(data.num_samples(number)):
            painting = int((latents - batch.latent[row].flatten()).square().sum(dim=1).argmin())
            text = texts[painting % 12]
            assert int(batch.text.mask[row].sum()) == len(text)
            torch.testing.assert_close(batch.text.embeds[row, : len(text)].float(), text.float(), rtol=0.02, atol=0.02)
            found.append(painting)
    assert sorted(found) == list(range(24))


def test_another_start_computes_nothing_and_another_bank_all(
    config: ScenesData, encoders: Encoders, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = opened(config, encoders).batch(1)
    with monkeypatch.context() as patched:
        patched.setattr(scenes, "encode_pictures", None)
        again = opened(config, encoders).batch(1)
        assert torch.equal(first.latent, again.latent)
        names = tmp_path / "names.txt"
        names.write_text("dog\ncat  # and its remark\n\napple\nlemon\nchair\n")
        with pytest.raises(TypeError):
            opened(replace(config, names=str(names)), encoders)


def test_short_texts_do_not_wait_for_long_ones() -> None:
    rng = np.random.default_rng(0)
    lengths = np.where(rng.random(400) < 0.2, 90, 14)
    texts = [torch.randn(int(length), 8).bfloat16() for length in lengths]
    places = np.stack([np.zeros(800, np.int64), np.arange(800)], axis=1)
    latents = torch.arange(800).view(800, 1, 1, 1).bfloat16()
    data = CachedScenes([latents], places, texts, np.arange(400), Demand(resolutions=(64,), batch_size=16, seed=0))
    widths = [data.batch(number).text.mask.shape[1] for number in range(data.num_batches)]
    assert set(widths) == {24, 96}
    assert np.mean(np.array(widths) == 24) > 0.7


def test_scenes_are_what_the_version_says(bank: str) -> None:
    """If this fails, cached latents would not be those of the scenes: give SCENES_VERSION its next number."""
    paintings, digest = Paintings(load_bank(bank), 7), hashlib.sha256()
    for index in range(150):
        digest.update(paintings.caption(index).encode())
    for copy, index in ((0, 0), (1, 5), (2, 31), (0, 99), (1, 12), (1, 20), (0, 21), (0, 22)):
        digest.update(paintings.paint(copy, index, 64).tobytes())
    assert (scenes.SCENES_VERSION, digest.hexdigest()[:16]) == ("4", "b301454395683ffc")


def test_pictures_and_windows(bank: str) -> None:
    config, demand = ScenePictures(bank=bank, seed=3), Demand(resolutions=(64,), batch_size=3, seed=1)
    whole = pixel_data(config, demand, multiple=16).batch(10**6).pixels
    window = pixel_data(config, demand, multiple=16, crop=32).batch(10**6).pixels
    assert whole.shape == (3, 3, 64, 64)
    assert any(torch.equal(whole[0][:, y : y + 32, x : x + 32], window[0]) for y in range(33) for x in range(33))


def test_held_out_scenes_with_a_wrong_word(config: ScenesData, encoders: Encoders) -> None:
    demand = Demand(resolutions=(32,), batch_size=32, seed=0)
    batches = contrasts(config, opened(config, encoders), demand, Work(encoders=encoders))
    kinds = Counter(kind for batch in batches for kind in batch.kinds)
    assert set(kinds) == set(WRONG_WORDS)
    assert max(kinds.values()) == 24
    assert all((batch.right.embeds[..., :8, :] != batch.wrong.embeds[..., :8, :]).any() for batch in batches)


def test_several_resolutions_in_one_run(config: ScenesData, encoders: Encoders) -> None:
    demand, shapes = Demand(resolutions=(64, 32), batch_size=4, seed=0), Counter[int]()
    data = latent_data(config, demand, Work(encoders=encoders))
    assert data.num_batches is not None
    for number in range(data.num_batches):
        batch = data.batch(number)
        shapes[batch.latent.shape[-1]] += len(batch.latent)
    assert shapes == {4: 12, 2: 12}


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


def test_sizes_that_do_not_fit_are_told(config: ScenesData, bank: str, encoders: Encoders) -> None:
    with pytest.raises(RequestError, match="multiples of 16"):
        latent_data(config, Demand(resolutions=(40,), batch_size=4, seed=0), Work(encoders=encoders))
    pictures = ScenePictures(bank=bank)
    with pytest.raises(RequestError, match="one resolution"):
        pixel_data(pictures, Demand(resolutions=(64, 32), batch_size=1, seed=0), multiple=16)
    with pytest.raises(RequestError, match="window of 80 px"):
        pixel_data(pictures, Demand(resolutions=(64,), batch_size=1, seed=0), multiple=16, crop=80)
    with pytest.raises(ConfigError, match="num_copies=0"):
        replace(config, num_copies=0)


def test_names_that_do_not_fit_are_told(bank: str, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("dog\nxylophone\n")
    with pytest.raises(RequestError, match="xylophone"):
        open_bank(bank, str(names))
    names.write_text("# nothing\n")
    with pytest.raises(RequestError, match="names nothing"):
        open_bank(bank, str(names))
    with pytest.raises(RequestError, match="cannot be read"):
        open_bank(bank, str(tmp_path / "absent.txt"))


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([1, 8, 9], [16, 16, 16]),
        ([24, 3], [24, 24]),
        ([25, 24], [32, 24]),
        ([1, 24, 25, 48, 49, 96, 97, 100], [24, 24, 48, 48, 96, 96, 104, 104]),
        ([95], [96]),
        ([97], [104]),
    ],
)
def test_texts_are_filled_up_to_few_lengths(lengths: list[int], expected: list[int]) -> None:
    assert scenes._filled_lengths(np.array(lengths)).tolist() == expected


class Numbered:
    """Scene ``n`` is a picture whose red is its row, whose green its column and whose blue ``n``; one object."""

    def __init__(self, box: Box) -> None:
        self.box = box

    def sample(self, index: int, size: int) -> tuple[np.ndarray, list[Box]]:
        rows, columns = np.mgrid[:size, :size]
        return np.stack([rows, columns, np.full_like(rows, index)], axis=2).astype(np.uint8), [self.box]


def corners(pixels: torch.Tensor) -> list[tuple[int, int]]:
    levels = ((pixels + 1) * 127.5).round().int()
    return [(int(each[0, 0, 0]), int(each[1, 0, 0])) for each in levels]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0.5, 0.25, 0.5, 0.25), (8, 24)),  # a point of 64 pixels: left, top, right, bottom; the centre is (16, 32)
        ((0.0, 0.0, 0.0, 0.0), (0, 0)),
        ((1.0, 1.0, 1.0, 1.0), (48, 48)),
        ((0.9, 0.1, 0.9, 0.1), (0, 48)),
    ],
)
def test_a_window_lies_around_an_object_and_inside_the_picture(
    box: tuple[float, float, float, float], expected: tuple[int, int]
) -> None:
    paintings = Numbered(box)
    pixels = scene_pixels(paintings, range(3), 64, crop=16)  # type: ignore[arg-type]
    assert pixels.shape == (3, 3, 16, 16)
    assert corners(pixels) == [expected] * 3


def test_a_window_is_somewhere_on_its_object_the_same_each_time() -> None:
    paintings = Numbered((0.25, 0.5, 0.75, 0.625))
    first, again = (scene_pixels(paintings, range(40), 64, crop=16) for _ in range(2))  # type: ignore[arg-type]
    assert torch.equal(first, again)
    tops, lefts = zip(*corners(first), strict=True)
    assert 24 <= min(tops) < max(tops) <= 32
    assert 8 <= min(lefts) < 16
    assert 32 < max(lefts) <= 40


def test_composed_scenes_are_numbered_without_a_gap() -> None:
    data = ComposedScenes(Numbered((0, 0, 1, 1)), 8, batch_size=3, crop=None)  # type: ignore[arg-type]
    found = [((data.batch(number).pixels[:, 2, 0, 0] + 1) * 127.5).round().tolist() for number in (0, 1, 4)]
    assert found == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0], [12.0, 13.0, 14.0]]
    assert (data.num_samples(9), data.num_batches) == (3, None)


def test_the_least_size_and_a_window_as_large_as_the_picture_are_fine(bank: str) -> None:
    demand = Demand(resolutions=(16,), batch_size=1, seed=0)
    data = pixel_data(ScenePictures(bank=bank), demand, multiple=16, crop=16)
    assert data.batch(0).pixels.shape == (1, 3, 16, 16)
    with pytest.raises(RequestError, match="window of 24 px"):
        pixel_data(ScenePictures(bank=bank), replace(demand, resolutions=(32,)), multiple=16, crop=24)
    with pytest.raises(RequestError, match=r"resolutions=\[\] must be one or more"):
        pixel_data(ScenePictures(bank=bank), replace(demand, resolutions=()), multiple=16)
