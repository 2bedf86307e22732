"""Fingerprints of data: what changes them, and what does not."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.common.errors import ConfigError
from sanakit.data.open import open_data
from sanakit.features.configs import FilePictures, FilesData, ScenePictures, ScenesData
from sanakit.features.encoders import Encoders
from sanakit.features.identity import Identity, identity_of_encoders, identity_of_files, named_data
from sanakit.features.open import latent_data, pixel_data
from sanakit.features.work import Demand, Work

from .conftest import save_photo

DEMAND = Demand(resolutions=(64,), batch_size=3, seed=0)


@pytest.mark.parametrize("cache", [True, False])
def test_a_place_and_an_order_of_reading_are_no_data_and_every_change_is(
    photos: Path, tmp_path: Path, encoders: Encoders, cache: bool
) -> None:
    config = FilesData(path=str(photos), cache=cache, cache_folder=str(tmp_path / "cache"))

    def identity(config: FilesData = config, demand: Demand = DEMAND) -> Identity:
        told: list[Identity] = []
        latent_data(config, replace(demand, on_identity=told.append), Work(encoders=encoders))
        [found] = told
        return found

    def changed() -> set[str]:
        now = identity()
        return {part for part in before if before[part] != now[part]}

    before = identity()
    assert set(before) == {"names of samples", "pictures", "captions"}
    moved = shutil.copytree(photos, tmp_path / "moved")
    assert identity(replace(config, path=str(moved)), replace(DEMAND, resolutions=(32,), batch_size=2)) == before
    text = (photos / "3.txt").read_text()
    (photos / "3.txt").write_text(text + " more")
    assert changed() == {"captions"}
    (photos / "3.txt").write_text(text)
    assert changed() == set()
    save_photo(photos / "0.png", 64, 64, seed=99)
    assert changed() == {"pictures"}
    (photos / "0.txt").unlink()
    (photos / "0.png").unlink()
    assert changed() == {"names of samples", "pictures", "captions"}


def test_data_that_is_refused_costs_nothing(photos: Path, tmp_path: Path, encoders: Encoders) -> None:
    """Neither pictures nor scenes nor captions are encoded."""

    def refuse(found: Identity) -> None:
        raise ConfigError(f"other {', '.join(found)}")

    demand, place = replace(DEMAND, on_identity=refuse), str(tmp_path / "cache")
    for config in (FilesData(path=str(photos), cache_folder=place), ScenesData(bank="tiny", cache_folder=place)):
        with pytest.raises(ConfigError, match=r"other (names of samples, pictures, captions|scenes)"):
            latent_data(config, demand, Work(encoders=encoders))
    with pytest.raises(ConfigError, match="other scenes"):
        pixel_data(ScenePictures(bank="tiny"), demand, multiple=16)
    assert list((tmp_path / "cache").rglob("*.safetensors")) == []
    latent_data(FilesData(path=str(photos), cache_folder=place), DEMAND, Work(encoders=encoders))
    assert list((tmp_path / "cache").rglob("*.safetensors")) != []


def test_other_encoders_are_another_identity(tiny_bundle: ModelBundle) -> None:
    def identity() -> Identity:
        return identity_of_encoders(
            Encoders(autoencoder=lambda: tiny_bundle.autoencoder, text=lambda: tiny_bundle.text_encoder)
        )

    before = identity()
    weight = next(tiny_bundle.autoencoder.encoder.parameters())
    weight.mul_(1.01)
    after = identity()
    weight.div_(1.01)
    assert {part for part in before if before[part] != after[part]} == {"autoencoder"}
    assert set(before) == {"autoencoder", "text encoder"}


def test_pictures_of_an_autoencoder_and_what_is_left_out(photos: Path) -> None:
    config = FilePictures(path=str(photos))
    told: list[Identity] = []
    pixel_data(config, replace(DEMAND, on_identity=told.append), multiple=16)
    assert [set(found) for found in told] == [{"names of samples", "pictures", "captions"}]
    assert named_data(config, "the recipe") == "the recipe"
    assert named_data(replace(config, leave_out=("4", "2")), "the recipe") == "the recipe without 2, 4"
    assert named_data(ScenesData(), "the recipe") == "the recipe"


def test_plain_pictures_of_one_length_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    for number in range(3):
        Image.new("RGB", (64, 64), (9, number, 9)).save(tmp_path / "plain" / f"{number}.bmp")
    config = FilePictures(path=str(tmp_path / "plain"))

    def pictures() -> str:
        told: list[Identity] = []
        pixel_data(config, replace(DEMAND, on_identity=told.append), multiple=16)
        return told[0]["pictures"]

    before = pictures()
    assert pictures() == before
    Image.new("RGB", (64, 64), (99, 0, 9)).save(tmp_path / "plain" / "1.bmp")
    assert pictures() != before


def test_a_latent_of_a_file_is_its_content(tmp_path: Path) -> None:
    latent = np.zeros((4, 2, 2), np.float32)
    found = []
    for value in (0.0, 1.0):
        latent[0, 0, 0] = value
        np.save(tmp_path / "a.npy", latent)
        (tmp_path / "a.txt").write_text("red")
        source = open_data(tmp_path)
        assert len(source) == 1
        found.append(identity_of_files(source, [0])["pictures"])
    assert found[0] != found[1]
