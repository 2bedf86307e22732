"""Features of a folder: in the order of names whatever the file system says, the same in batches of any size."""

from __future__ import annotations

import os
import random
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sanakit.common.errors import PictureError, RequestError
from sanakit.evaluation.reports.picture_features import extract_features
from sanakit.evaluation.reports.picture_sets import open_pictures


class MeanColour:
    name, weights_hash, resize_rule, num_features = "mean colour", "none", "none", 3

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Written in a random order, with folders below and two sizes."""
    (tmp_path / "below").mkdir()
    names = [*(f"{number:02}.png" for number in range(9)), "below/z.png", "below/a.png"]
    for name in random.Random(3).sample(names, len(names)):
        level = 20 * names.index(name)
        Image.new("RGB", (12 + len(name) % 2, 12), (level, 255 - level, 7)).save(tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_rows_are_in_the_order_of_names(folder: Path, batch_size: int) -> None:
    found = extract_features(open_pictures(folder), MeanColour(), batch_size=batch_size)
    reds = [20 * index / 255 for index in (*range(9), 10, 9)]
    np.testing.assert_allclose(found.features[:, 0], reds, atol=1e-6)
    assert found.facts["pictures"] == 11
    assert found.facts["left_out"] is None


def test_a_broken_picture_ends_it_or_is_counted(folder: Path) -> None:
    (folder / "03.png").write_bytes((folder / "03.png").read_bytes()[:50])
    with pytest.raises(PictureError, match=r"03\.png"):
        extract_features(open_pictures(folder), MeanColour())
    found = extract_features(open_pictures(folder), MeanColour(), skip_broken=True)
    assert (found.facts["pictures"], found.facts["left_out"]) == (10, 1)
    assert found.facts["first_left_out"].startswith("03.png ")
    assert found.facts["path"] == folder.name  # a report is shared, and where pictures lie is private
    with pytest.raises(RequestError, match="1 readable"):
        extract_features(open_pictures(folder, limit=1), MeanColour())


def test_every_picture_is_measured_whatever_its_name(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Suffixes that few programs write, folders behind links, and what is no file."""
    other = tmp_path_factory.mktemp("other")
    for name in ("a.jfif", "b.jpe", "c.avif"):
        (other / name).write_bytes((folder / "00.png").read_bytes())
    (folder / "linked").symlink_to(other)
    os.mkfifo(folder / "pipe.png")
    found = open_pictures(folder)
    assert len(found) == 14
    assert found.problems == (f"{folder / 'pipe.png'}: it is a pipe, a socket or a device, and no file",)


def test_shards_beside_pictures_are_measured_too(folder: Path) -> None:
    with tarfile.open(folder / "00000.tar", "w") as tar:
        tar.add(folder / "00.png", "packed.png")
    assert len(open_pictures(folder)) == 12


def test_two_pictures_are_enough(folder: Path) -> None:
    found = extract_features(open_pictures(folder, limit=2), MeanColour())
    assert (len(found.features), found.facts["sizes"]) == (2, "12x12")
