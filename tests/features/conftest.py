"""Tiny encoders, a bank, and a folder of pictures of several shapes with captions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.features.encoders import Encoders

from ..worlds.toy_bank import write_toy_bank

SHAPES = ((64, 64), (48, 96), (130, 70), (64, 64), (96, 48), (200, 200), (90, 91))  # (height, width)


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Digests and indices that sanakit keeps stay out of the user's folder."""
    monkeypatch.setenv("SANAKIT_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def encoders(tiny_bundle: ModelBundle) -> Encoders:
    """16 pixels per latent cell, 4 channels; text of 32 channels."""
    return Encoders(autoencoder=lambda: tiny_bundle.autoencoder, text=lambda: tiny_bundle.text_encoder)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of the toy bank."""
    folder = tmp_path_factory.mktemp("bank") / "toy"
    write_toy_bank(folder)
    return str(folder)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, (height, width) in enumerate(SHAPES):
        save_photo(folder / f"{number}.png", height, width, seed=number)
        (folder / f"{number}.txt").write_text(f"photo number {number}" + " with a longer caption" * (number % 3))
    return folder


def save_photo(path: Path, height: int, width: int, *, seed: int) -> None:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
    Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).save(path)
