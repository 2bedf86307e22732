"""Colour words over the whole cube of colours, and masks at their borders."""

from __future__ import annotations

import hashlib
import io
from itertools import product

import numpy as np
import pytest
from PIL import Image

from sanakit.worlds.building.cutting import as_gray_webp, cut
from sanakit.worlds.building.packages import PACKAGES
from sanakit.worlds.building.tinting import mask_but, tint_of


@pytest.mark.parametrize(
    ("rgb", "word", "tintable"),
    [
        ((240, 20, 60), "red", True), ((235, 120, 10), "orange", True), ((185, 110, 20), "brown", True),
        ((120, 90, 80), "brown", True), ((240, 220, 40), "yellow", True), ((90, 200, 40), "green", True),
        ((30, 170, 200), "blue", True), ((120, 60, 200), "purple", True), ((220, 60, 180), "pink", True),
        ((250, 150, 150), "pink", True), ((60, 50, 100), "black", True), ((250, 250, 250), "white", False),
        ((160, 160, 160), "gray", True), ((70, 70, 70), "black", True), ((30, 30, 30), "black", False),
        ((222, 222, 222), "white", True),
    ],
)  # fmt: skip
def test_words_of_plain_colours(rgb: tuple[int, int, int], word: str, tintable: bool) -> None:
    tint = tint_of(Image.new("RGBA", (4, 4), (*rgb, 255)))
    assert (tint.natural, tint.mask is not None) == (word, tintable)


def test_the_words_of_all_colours_are_what_they_were() -> None:
    """Banks that were built name colours so: a picture of every colour of a grid of nine levels each way."""
    said = []
    for rgb in product(range(0, 256, 31), repeat=3):
        tint = tint_of(Image.new("RGBA", (2, 2), (*rgb, 255)))
        said.append(f"{rgb} {tint.natural} {'none' if tint.mask is None else round(float(tint.mask[0, 0]), 3)}")
    assert hashlib.sha256("\n".join(said).encode()).hexdigest()[:16] == "f61755f886d2819a"


def test_what_is_not_visible_counts_for_nothing() -> None:
    image = Image.new("RGBA", (10, 2), (30, 30, 200, 128))
    image.paste((200, 30, 30, 129), (0, 0, 3, 2))
    tint = tint_of(image)
    assert tint.natural == "red"
    assert tint.mask is not None
    assert (tint.mask[:, 3:] == 0).all()


def test_a_picture_has_a_main_colour_from_half_of_it_on() -> None:
    for share, word in ((4, None), (5, "red"), (6, "red")):
        image = Image.new("RGBA", (10, 2), (20, 180, 40, 255))
        image.paste((220, 30, 30, 255), (0, 0, share, 2))
        image.paste((30, 60, 220, 255), (share, 0, 7, 2))
        assert tint_of(image).natural == word


def test_colours_that_are_kept_fade_out() -> None:
    levels = [0, 5, 10, 12, 15, 20, 40]
    image = Image.fromarray(np.array([[(100 + level, 0, 0) for level in levels]], np.uint8))
    np.testing.assert_allclose(mask_but(image, ["#640000", "#00ff00"])[0], [0, 0, 0, 0.2, 0.5, 1, 1], atol=1e-6)


def test_views_are_cut_tight_and_never_enlarged() -> None:
    image = Image.new("RGBA", (400, 300), (9, 9, 9, 16))  # hardly there
    image.paste((200, 0, 0, 17), (100, 50, 300, 150))
    found = cut(image)
    assert found is not None
    assert found.size == (160, 80)
    small = cut(image, 500)
    assert small is not None
    assert small.size == (200, 100)
    line = Image.new("RGBA", (400, 3))
    line.paste((1, 1, 1, 255), (0, 1, 400, 2))
    thin = cut(line)
    assert thin is not None
    assert thin.size == (160, 1)
    gray = np.asarray(Image.open(io.BytesIO(as_gray_webp(np.array([[0.5, 2.0, -1.0]] * 8, np.float32)))))
    assert gray.shape[:2] == (8, 3)


def test_packages_are_those_that_were_looked_at() -> None:
    facts = [
        (each.index, each.name, each.version, each.file, each.size, each.sha256, each.address)
        for each in PACKAGES.values()
    ]
    assert hashlib.sha256(repr(facts).encode()).hexdigest()[:16] == "2def74c72321e199"
