"""A user's files as micro-batches: every sample once, with its own latent and text, cached or not."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.backends.cuda import flash_sdp_enabled, math_sdp_enabled, mem_efficient_sdp_enabled

from sanakit.common.errors import PictureError, RequestError
from sanakit.data.buckets import assign_bins, training_bins
from sanakit.data.caption_choice import PowerLawChoice, ProportionChoice
from sanakit.data.fitting import fit_to_bin
from sanakit.data.sources.data_source import DataSource
from sanakit.features import caching, file_latents
from sanakit.features.configs import FilePictures, FilesData
from sanakit.features.encoders import Encoders
from sanakit.features.files import FileLatents
from sanakit.features.open import latent_data, pixel_data
from sanakit.features.pixel_tensors import encode_pictures
from sanakit.features.pixels import FilePixels
from sanakit.features.work import Demand, Work
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.training.step.parallel import attention_for

from .conftest import SHAPES, save_photo


@pytest.fixture
def config(photos: Path, tmp_path: Path) -> FilesData:
    return FilesData(path=str(photos), cache_folder=str(tmp_path / "cache"))


def open_files(
    config: FilesData, encoders: Encoders, *, resolutions: tuple[int, ...] = (64,), batch_size: int = 3
) -> FileLatents:
    data = latent_data(config, Demand(resolutions=resolutions, batch_size=batch_size, seed=0), Work(encoders=encoders))
    assert isinstance(data, FileLatents)
    return data


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("resolutions", [(64,), (64, 128)])
def test_every_sample_has_its_latent_and_its_text(
    config: FilesData, photos: Path, encoders: Encoders, cache: bool, resolutions: tuple[int, ...]
) -> None:
    data = open_files(replace(config, cache=cache), encoders, resolutions=resolutions)
    bins = assign_bins(np.array(SHAPES), resolutions, multiple=16)
    seen: Counter[str] = Counter()
    for number in range(data.num_batches, 2 * data.num_batches):
        batch, keys = data.batch(number), data.keys(number)
        assert len(keys) == data.num_samples(number) == len(batch.latent)
        assert batch.text.embeds.shape[1] % 8 == 0
        for row, key in enumerate(keys):
            height, width = bins[int(key)].tolist()
            picture = fit_to_bin(Image.open(photos / f"{key}.png").convert("RGB"), height, width)
            expected = encode_pictures(encoders.autoencoder, [picture], "cpu")[0].float()
            assert torch.equal(batch.latent[row], expected)  # whatever its company was
            text = encoders.text.encode([(photos / f"{key}.txt").read_text()])[0].embeds[0]  # alone, as a prompt
            assert torch.equal(batch.text.embeds[row, : len(text)], text)
            assert batch.text.mask[row].tolist() == [i < len(text) for i in range(batch.text.mask.shape[1])]
            assert not batch.text.embeds[row, len(text) :].any()
        seen.update(keys)
    assert seen == Counter(str(number) for number in range(len(SHAPES)))


def test_a_second_run_reuses_and_a_change_computes_only_what_changed(
    config: FilesData, photos: Path, encoders: Encoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []
    real = file_latents.encode_pictures

    def counting(autoencoder: DCAutoencoder, pictures: list[NDArray[np.uint8]], device: str) -> torch.Tensor:
        computed.append(len(pictures))
        return real(autoencoder, pictures, device)

    monkeypatch.setattr(file_latents, "encode_pictures", counting)
    first = open_files(config, encoders)
    assert sum(computed) == len(SHAPES)
    monkeypatch.setattr(caching, "encode_texts", None)  # would fail if it were called
    again = open_files(config, encoders)
    assert sum(computed) == len(SHAPES)
    assert all(torch.equal(first.batch(n).latent, again.batch(n).latent) for n in range(first.num_batches))
    (photos / "3.png").rename(photos / "renamed.png")  # the bytes count, not the name
    (photos / "3.txt").rename(photos / "renamed.txt")
    save_photo(photos / "0.png", 64, 64, seed=99)
    open_files(config, encoders)
    assert sum(computed) == len(SHAPES) + 1
    open_files(config, encoders, resolutions=(128,))
    assert sum(computed) == 2 * len(SHAPES) + 1
    monkeypatch.setattr(file_latents, "READING", file_latents.READING + 1)  # another way from files to pixels
    open_files(config, encoders)
    assert sum(computed) == 3 * len(SHAPES) + 1


def test_a_cache_filled_in_several_goes_is_that_of_one_go(
    config: FilesData, tmp_path: Path, encoders: Encoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = open_files(config, encoders)
    broken_off = replace(config, cache_folder=str(tmp_path / "other"))
    real, calls = file_latents.encode_pictures, iter(range(99))

    def stopping(autoencoder: DCAutoencoder, pictures: list[NDArray[np.uint8]], device: str) -> torch.Tensor:
        if next(calls) % 2:
            raise KeyboardInterrupt
        return real(autoencoder, pictures, device)

    monkeypatch.setattr(file_latents, "encode_pictures", stopping)
    monkeypatch.setattr(file_latents, "rows_at_once", lambda height, width, device: 1)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            open_files(broken_off, encoders)
    monkeypatch.undo()
    finished = open_files(broken_off, encoders)
    for number in range(whole.num_batches):
        assert torch.equal(whole.batch(number).latent, finished.batch(number).latent)
        assert torch.equal(whole.batch(number).text.embeds, finished.batch(number).text.embeds)


def test_what_is_not_cached_is_equal_to_the_bit_and_in_memory_whatever_another_thread_computes(
    config: FilesData, photos: Path, encoders: Encoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts of one token alone and in company, beside a step whose attention is the plain one."""
    for number, caption in enumerate(("", "a", "photo", "a longer caption of several words", "b", "", "photo a")):
        (photos / f"{number}.txt").write_text(caption)
    cached, fresh = (open_files(replace(config, cache=cache), encoders, batch_size=2) for cache in (True, False))
    seen: list[set[tuple[bool, ...]]] = []
    real = encoders.text.encode

    def noting(texts: Sequence[str], *, rows_per_call: int) -> Any:
        seen.append({(flash_sdp_enabled(), mem_efficient_sdp_enabled(), math_sdp_enabled())})
        return real(texts, rows_per_call=rows_per_call)

    monkeypatch.setattr(encoders.text, "encode", noting)
    begun = threading.Event()
    with ThreadPoolExecutor(1) as thread:
        for number in range(cached.num_batches):
            begun.clear()
            with attention_for("cpu"):
                made = thread.submit(lambda number=number: (begun.set(), fresh.batch(number))[1])
                begun.wait()
                time.sleep(0.02)  # the step goes on while the batch is wanted
            first, second = cached.batch(number), made.result()
            for one, other in ((first.latent, second.latent), (first.text.embeds, second.text.embeds)):
                assert torch.equal(one, other)
                assert one.stride() == other.stride()
    assert all(flags == {(True, True, True)} for flags in seen)


@pytest.mark.parametrize("size", [(64, 64), (48, 96)])
def test_a_latent_does_not_depend_on_its_company(encoders: Encoders, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    pictures = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(9)]
    together = encode_pictures(encoders.autoencoder, pictures, "cpu")
    for start, end in ((0, 1), (4, 5), (8, 9), (0, 2), (3, 6), (1, 9)):
        assert torch.equal(encode_pictures(encoders.autoencoder, pictures[start:end], "cpu"), together[start:end])


def test_files_are_hashed_once_and_again_when_they_change(
    config: FilesData, photos: Path, encoders: Encoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sanakit.common.user_cache._SETTLED_SECONDS", 0.0)
    first, read = open_files(config, encoders), []
    real = DataSource.read_bytes

    def noting(source: DataSource, index: int) -> bytes:
        read.append(source[index].key)
        return real(source, index)

    monkeypatch.setattr(DataSource, "read_bytes", noting)
    again = open_files(config, encoders)
    assert read == []
    assert torch.equal(first.batch(0).latent, again.batch(0).latent)
    facts = (photos / "3.png").stat()
    changed = (photos / "0.png").read_bytes().ljust(facts.st_size, b"\0")[: facts.st_size]
    (photos / "3.png").write_bytes(changed)  # as long as before, and no younger
    os.utime(photos / "3.png", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    open_files(config, encoders)
    assert "3" in read
    assert set(read) == {"3"}
    read.clear()
    monkeypatch.setattr("sanakit.common.user_cache._SETTLED_SECONDS", 1e9)  # all of them were written just now
    open_files(config, encoders)
    assert len(set(read)) == len(SHAPES)


def test_a_broken_picture_is_left_out_and_named(
    config: FilesData, photos: Path, encoders: Encoders, caplog: pytest.LogCaptureFixture
) -> None:
    whole = (photos / "5.png").read_bytes()
    (photos / "5.png").write_bytes(whole[: len(whole) // 2])  # the header is fine
    with caplog.at_level(logging.WARNING):
        data = open_files(config, encoders)
    assert sorted(key for n in range(data.num_batches) for key in data.keys(n)) == ["0", "1", "2", "3", "4", "6"]
    assert "1 samples" in caplog.text
    assert "5 (" in caplog.text
    uncached = open_files(replace(config, cache=False), encoders)
    broken = next(number for number in range(uncached.num_batches) if "5" in uncached.keys(number))
    with pytest.raises(PictureError, match=r"picture 5 of .*data validate"):
        uncached.batch(broken)


def test_captions_are_chosen_anew_in_every_epoch(config: FilesData, photos: Path, encoders: Encoders) -> None:
    for number in range(len(SHAPES)):
        caption = {str(number): {"prompt": "short"}}
        (photos / f"{number}_VILA.json").write_text(json.dumps(caption))
    choice = ProportionChoice(proportions={"prompt": 1, "VILA": 1})
    data = open_files(replace(config, caption_choice=choice), encoders, batch_size=1)
    lengths: dict[str, set[int]] = {}
    for number in range(12 * data.num_batches):
        lengths.setdefault(data.keys(number)[0], set()).add(int(data.batch(number).text.mask.sum()))
    assert all(len(found) == 2 for found in lengths.values())
    same = open_files(replace(config, caption_choice=choice), encoders, batch_size=1)
    assert all(torch.equal(data.batch(n).text.embeds, same.batch(n).text.embeds) for n in range(30))


def test_low_scores_are_listed_not_silent(
    config: FilesData, photos: Path, encoders: Encoders, caplog: pytest.LogCaptureFixture
) -> None:
    for number, score in ((0, 10.0), (1, 30.0), (2, 21.0)):
        (photos / f"{number}_prompt_clip_score.json").write_text(json.dumps({str(number): {"prompt": score}}))
    with caplog.at_level(logging.WARNING):
        data = open_files(replace(config, drop_below=22.0, caption_choice=PowerLawChoice(threshold=25)), encoders)
    assert sorted(key for n in range(data.num_batches) for key in data.keys(n)) == ["1", "3", "4", "5", "6"]
    assert "2 samples" in caplog.text
    assert "0 (10), 2 (21)" in caplog.text


def test_features_of_other_encoders_are_one_sentence(tmp_path: Path, encoders: Encoders) -> None:
    folder, config = tmp_path / "features", FilesData(path=str(tmp_path / "features"), cache=False)
    folder.mkdir()
    for number in range(2):
        np.save(folder / f"{number}.npy", np.ones((4, 4, 4), np.float16))
        np.savez(folder / f"{number}.npz", caption_feature=np.ones((1, 5, 32 - number), np.float32))
    data = open_files(config, encoders)
    with pytest.raises(RequestError, match=r"text features of 1 in .* have 31 channels, and the text encoder makes 32"):
        [data.batch(number) for number in range(2)]
    (folder / "0.npz").write_bytes((folder / "1.npz").read_bytes())
    with pytest.raises(RequestError, match=r"text features of 0 .* made by another one"):
        open_files(config, encoders)
    np.save(folder / "1.npy", np.ones((3, 4, 4), np.float16))
    with pytest.raises(RequestError, match=r"latents of .* have 3 channels, and the autoencoder makes 4"):
        open_files(config, encoders)


def test_cached_feature_shards_are_used_as_they_are(
    tmp_path: Path, encoders: Encoders, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "features"
    folder.mkdir()
    rng = np.random.default_rng(0)
    latents = {}
    for number, shape in enumerate([(4, 4, 4), (4, 4, 4), (4, 3, 5), (4, 8, 8)]):
        latents[str(number)] = rng.normal(size=shape).astype(np.float16)
        np.save(folder / f"{number}.npy", latents[str(number)])
        (folder / f"{number}.txt").write_text(f"caption {number}")
    feature = rng.normal(size=(1, 20, 32)).astype(np.float32)
    np.savez(folder / "0.npz", caption_feature=feature, attention_mask=(np.arange(20) < 7)[None, None, None])
    config = FilesData(path=str(folder), cache_folder=str(tmp_path / "cache"))
    with caplog.at_level(logging.WARNING):
        data = open_files(config, encoders)
    found = {}
    for number in range(data.num_batches):
        batch = data.batch(number)
        for row, key in enumerate(data.keys(number)):
            np.testing.assert_array_equal(batch.latent[row].numpy(), latents[key].astype(np.float32))
            found[key] = batch.text.embeds[row][batch.text.mask[row]]
    assert {"0", "1"} <= set(found)
    assert "3" not in found
    assert "3 (128x128 px)" in caplog.text
    np.testing.assert_allclose(found["0"].numpy(), feature[0, :7], rtol=1e-6)
    whole = (folder / "1.npy").read_bytes()
    (folder / "1.npy").write_bytes(whole[:-1])
    caplog.clear()
    assert "1" not in {key for n in range(3) for key in open_files(config, encoders).keys(n)}
    assert "1 (1.npy has 255 bytes, and its header tells of 256)" in caplog.text
    (folder / "1.npy").write_bytes(whole)
    text = encoders.text.encode(["caption 1"])[0].embeds[0]
    torch.testing.assert_close(found["1"], text, rtol=1e-4, atol=1e-4)


def test_pictures_for_an_autoencoder(photos: Path) -> None:
    config = FilePictures(path=str(photos))
    data = pixel_data(config, Demand(resolutions=(64,), batch_size=2, seed=1), multiple=16)
    assert data.num_batches is not None
    assert sum(data.num_samples(n) for n in range(data.num_batches)) == len(SHAPES)
    batch = data.batch(0).pixels
    assert batch.dtype == torch.float32
    assert batch.abs().max() <= 1
    windows = pixel_data(config, Demand(resolutions=(128,), batch_size=2, seed=1), multiple=16, crop=32)
    assert windows.num_batches is not None
    assert {tuple(windows.batch(n).pixels.shape[1:]) for n in range(windows.num_batches)} == {(3, 32, 32)}
    assert torch.equal(windows.batch(3).pixels, windows.batch(3).pixels)
    with pytest.raises(RequestError, match="window of 64 px does not fit"):
        pixel_data(config, Demand(resolutions=(64,), batch_size=2, seed=1), multiple=16, crop=64)


def test_wrong_places_are_one_sentence(config: FilesData, tmp_path: Path, encoders: Encoders) -> None:
    with pytest.raises(RequestError, match="is not there"):
        open_files(replace(config, path=str(tmp_path / "nowhere")), encoders)
    with pytest.raises(RequestError, match="multiples of 16"):
        open_files(config, encoders, resolutions=(50,))
    with pytest.raises(RequestError, match="no picture that could be trained on"):
        open_files(replace(config, min_size=5000), encoders)


def test_named_samples_are_left_out_and_the_others_are_described(
    config: FilesData, photos: Path, encoders: Encoders
) -> None:
    data = open_files(replace(config, leave_out=("3", "5")), encoders)
    described = [sample for number in range(data.num_batches) for sample in data.describe(number)]
    assert sorted(sample.key for sample in described) == ["0", "1", "2", "4", "6"]
    found = {sample.key: sample for sample in described}["4"]
    assert (found.file, found.caption) == ("4.png", (photos / "4.txt").read_text())
    with pytest.raises(RequestError, match=r"leave_out names '33'.*no sample .*did you mean 3\?"):
        open_files(replace(config, leave_out=("33",)), encoders)
    demand = Demand(resolutions=(64,), batch_size=3, seed=0)
    pictures = pixel_data(FilePictures(path=str(photos), leave_out=("0",)), demand, multiple=16)
    assert isinstance(pictures, FilePixels)
    keys = [sample.key for number in range(pictures.num_batches) for sample in pictures.describe(number)]
    assert sorted(keys) == ["1", "2", "3", "4", "5", "6"]
    first = pictures.describe(0)[0]
    height, width = pictures.batch(0).pixels.shape[2:]
    expected = fit_to_bin(Image.open(photos / f"{first.key}.png"), height, width)
    assert np.allclose(pictures.batch(0).pixels[0].permute(1, 2, 0), expected / 127.5 - 1, atol=1e-6)


def test_captions_that_are_cut_or_never_drawn_are_told(
    config: FilesData, photos: Path, encoders: Encoders, caplog: pytest.LogCaptureFixture
) -> None:
    (photos / "2.txt").write_text("word " * encoders.text.config.max_tokens + "\na second line")
    (photos / "list.csv").write_text("name,label\nx,y\n")
    (photos / "lonely.txt").write_text("no picture")
    open_files(config, encoders)
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any("left out, 1 missing_image: lonely (" in line for line in told)
    assert any("not used, list.csv: none of its columns (name, label)" in line for line in told)
    assert any("1 of 8 captions are never drawn, prompt_2 of 2 for one" in line for line in told)
    (cut,) = [line for line in told if "tokens that the model reads" in line]
    assert "2 of 8 captions have more than the" in cut
    assert "tokens of 2, " in cut


def test_windows_are_cut_out_of_pictures_up_to_the_shortest_side(photos: Path) -> None:
    save_photo(photos / "wide.png", 40, 400, seed=50)
    save_photo(photos / "tall.png", 400, 40, seed=51)
    config, demand = FilePictures(path=str(photos)), Demand(resolutions=(64,), batch_size=1, seed=1)
    shortest = int(training_bins(64, multiple=16).sizes.min())
    whole, windows = (pixel_data(config, demand, multiple=16, crop=crop) for crop in (None, shortest))
    assert whole.num_batches == len(SHAPES) + 2
    places: dict[tuple[int, ...], set[tuple[int, int]]] = {}
    for number in range(4 * whole.num_batches):
        picture, window = whole.batch(number).pixels[0], windows.batch(number).pixels[0]
        assert window.shape == (3, shortest, shortest)
        high, wide = (side - shortest + 1 for side in picture.shape[1:])
        found = [
            (y, x) for y in range(high) for x in range(wide)
            if torch.equal(picture[:, y : y + shortest, x : x + shortest], window)
        ]  # fmt: skip
        assert found
        places.setdefault(tuple(picture.shape), set()).add(found[0])
    assert any(high == shortest for _, high, _ in places)
    assert any(len(each) > 4 for each in places.values())  # another place each time
    for crop in (0, shortest - 8, shortest + 16):
        with pytest.raises(RequestError, match=f"a window of {crop} px does not fit"):
            pixel_data(config, demand, multiple=16, crop=crop)
