"""Generated pictures, as files on disk and as bytes."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

PictureBytes = Callable[..., bytes]


@pytest.fixture(scope="session")
def picture() -> PictureBytes:
    """``picture(width, height, seed)``: the bytes of a PNG (or another format) of noise."""

    def make(width: int = 24, height: int = 16, seed: int = 0, picture_format: str = "PNG", **options: Any) -> bytes:
        noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(noise).save(buffer, format=picture_format, **options)
        return buffer.getvalue()

    return make


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index of shards is kept in a folder of the test."""
    monkeypatch.setenv("SANAKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
