"""A small folder with everything that a curation must tell apart, and one Ray for all tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PLUGIN = '''
"""Stands in for a vision-language model: its captions depend on the pixels, and on the pictures of the same batch."""
import hashlib


class Captioner:
    def __init__(self, prefix="", fail_after=None):
        self.prefix, self.fail_after = prefix, fail_after

    def __call__(self, images):
        if self.fail_after is not None:
            if self.fail_after == 0:
                raise KeyboardInterrupt
            self.fail_after -= 1
        batch = hashlib.sha256(b"".join(image.tobytes() for image in images)).hexdigest()[:6]
        return [f"{self.prefix}{image.width}x{image.height} {image.resize((1, 1)).getpixel((0, 0))} {batch}" for image in images]


class Silent:
    def __call__(self, images):
        return [""] * len(images)


ASKED = []  # how many pictures at once


class Picky:
    def __init__(self, least=48):
        self.least = least

    def __call__(self, images):
        ASKED.append(len(images))
        if any(image.width < self.least for image in images):
            raise RuntimeError("CUDA out of memory")
        return ["a picture"] * len(images)


class TooFew:
    def __call__(self, images):
        return ["one"]


class RednessScorer:
    name = "redness"

    def score(self, images, texts):
        return [image.resize((1, 1)).getpixel((0, 0))[0] + len(text) / 1000 for image, text in zip(images, texts, strict=True)]


def load_redness(name_or_path, /, *, device):
    assert (name_or_path, device) == ("redness", "cpu")
    return RednessScorer()
'''  # noqa: E501


def blobs(seed: int, size: tuple[int, int] = (48, 40)) -> Image.Image:
    """A smooth picture of its own: its perceptual hash is far from that of other seeds."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    return coarse.resize(size, Image.Resampling.BICUBIC)


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a module that plug-in captioners are taken from, in this process and in Ray's workers."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "curation_test_plugin.py").write_text(PLUGIN)
    sys.path.insert(0, str(folder))
    yield "curation_test_plugin"
    sys.path.remove(str(folder))


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 files: 19 good ones (three without caption, one sideways), and what the names of the others say."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(18):
        blobs(number).save(folder / f"good-{number:02d}.png")
        if number < 15:
            (folder / f"good-{number:02d}.txt").write_text(f"picture number {number}")
    exif = Image.Exif()
    exif[0x0112] = 6
    blobs(50).save(folder / "turned.jpg", exif=exif, quality=95)
    for number in (0, 5):
        (folder / f"same-{number:02d}.png").write_bytes((folder / f"good-{number:02d}.png").read_bytes())
    blobs(3).save(folder / "near-03.jpg", quality=80)
    blobs(4, (96, 80)).save(folder / "near-04.png")
    blobs(60).save(folder / "a-first.png")  # its near duplicate has a larger key
    blobs(60).save(folder / "z-last.jpg", quality=85)
    (folder / "broken-text.png").write_text("no picture")
    whole = (folder / "good-09.png").read_bytes()
    (folder / "broken-cut.png").write_bytes(whole[: len(whole) // 2])
    blobs(70, (12, 40)).save(folder / "tiny.png")
    blobs(71, (200, 17)).save(folder / "wide.png")
    blobs(72, (17, 200)).save(folder / "tall.png")
    assert len([path for path in folder.iterdir() if path.suffix != ".txt"]) == 30
    return folder
