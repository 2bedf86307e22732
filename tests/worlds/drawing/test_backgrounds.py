"""Simple backgrounds differ, and recoloured material has the colour of its word."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from sanakit.worlds.banks.bank_files import load_bank
from sanakit.worlds.drawing.backgrounds import background_image
from sanakit.worlds.drawing.contact_sheet import contact_sheet
from sanakit.worlds.scenes.tint import recolour
from sanakit.worlds.scenes.vocabulary import BACKGROUNDS, COLOURS


def test_backgrounds_differ_from_each_other() -> None:
    pictures = {name: np.asarray(background_image(name, 64)).astype(float) for name in BACKGROUNDS}
    for a, b in combinations(pictures, 2):
        assert np.linalg.norm(pictures[a] - pictures[b], axis=-1).mean() > 30, (a, b)


@pytest.mark.parametrize("colour", COLOURS)
def test_tinted_material_has_the_colour_of_its_word(colour: str) -> None:
    bank, palette = load_bank("tiny"), np.array(list(COLOURS.values()), dtype=float)
    right = []
    for thing in bank.things.values():
        look = next((look for look in thing.looks if look.tintable and look.style == "flat"), None)
        if look is None:
            continue
        mask = bank.tint_mask(look.views[0])
        assert mask is not None
        material = np.asarray(mask, dtype=np.float32) / 255
        painted = recolour(np.asarray(bank.image(look.views[0])), material, colour)
        body = (painted[..., 3] == 255) & (material > 0.9)
        nearest = np.linalg.norm(painted[body][:, None, :3] - palette, axis=-1).argmin(-1)
        right.append((nearest == list(COLOURS).index(colour)).mean() > 0.5)
    assert len(right) > 30
    assert np.mean(right) > 0.95


def test_tinting_keeps_eyes_leaves_and_the_outline() -> None:
    pixels = np.array([[[248, 49, 47, 255], [28, 28, 28, 255], [0, 210, 106, 255], [248, 49, 47, 90]]], dtype=np.uint8)
    material = np.array([[1, 0, 0, 1]], dtype=np.float32)
    blue = recolour(pixels, material, "blue")
    assert tuple(blue[0, 0]) == (*COLOURS["blue"], 255)
    assert np.array_equal(blue[0, 1:3], pixels[0, 1:3])
    assert blue[0, 3, 3] == 90
    assert recolour(pixels, material, "black")[0, 1, 0] > 180, "eyes on a black animal must turn light"


@pytest.mark.parametrize("colour", COLOURS)
def test_tints_are_their_formula(colour: str) -> None:
    """The main colour becomes the word's, darker parts a darker shade, lighter ones are mixed with white."""
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (9, 11, 4), dtype=np.uint8)
    pixels[0, :2, 3] = (128, 129)
    material = np.linspace(0, 1, 99, dtype=np.float32).reshape(9, 11)
    rgb = pixels[..., :3].astype(np.float64)
    luma = (0.299 * rgb[..., 0] + 0.587 * rgb[..., 1] + 0.114 * rgb[..., 2]) / 255
    above = luma - np.median(luma[(pixels[..., 3] > 128) & (material > 0.5)])
    darker = np.where(above < 0, np.maximum(1 + 0.9 * above, 0.45), 1)[..., None]
    lighter = np.where(above > 0, np.minimum((0.35 if colour == "black" else 0.9) * above, 0.5), 0)[..., None]
    painted = np.array(COLOURS[colour]) * darker * (1 - lighter) + 255 * lighter
    if colour == "black":  # dark details of a black thing turn light
        dark = np.clip((0.3 - luma) / 0.1, 0, 1)[..., None]
        rgb = rgb * (1 - dark) + 215 * dark
    expected = rgb * (1 - material[..., None]) + painted * material[..., None]
    found = recolour(pixels, material, colour)
    assert np.array_equal(found[..., 3], pixels[..., 3])
    assert np.abs(found[..., :3] - expected).max() < 0.51  # rounded to levels


def test_a_drawing_without_a_body_is_tinted_around_the_middle() -> None:
    pixels = np.full((1, 2, 4), 128, np.uint8)
    pixels[..., 3] = 0
    found = recolour(pixels, np.ones((1, 2), np.float32), "red")
    assert np.abs(found[0, 0, :3].astype(int) - COLOURS["red"]).max() <= 1


def test_grounds_are_bands_and_stars() -> None:
    beach = np.asarray(background_image("beach", 100))
    assert [tuple(beach[row, 50]) for row in (0, 41, 43, 59, 61, 99)] == [
        (178, 226, 252), (178, 226, 252), (62, 156, 220), (62, 156, 220), (244, 222, 166), (244, 222, 166)
    ]  # fmt: skip
    night = np.asarray(background_image("night", 200)).astype(int)
    bright = night[..., 0] > 100
    assert 60 <= bright.sum() <= 200
    assert bright[18:22, 12:16].any()  # the first of them at 0.07, 0.10
    assert not bright[60:70].any()


def test_a_sheet_shows_pictures_in_rows_with_their_captions() -> None:
    pictures = [
        (np.full((20, 30, 3), level, np.uint8), "words of a caption that are wrapped") for level in (10, 60, 110)
    ]
    sheet = np.asarray(contact_sheet(pictures, columns=2))
    assert sheet.shape == (2 * 60, 2 * 90, 3)
    for number, (row, column) in enumerate(((0, 0), (0, 1), (1, 0))):
        cell = sheet[60 * row : 60 * (row + 1), 90 * column : 90 * (column + 1)]
        assert (cell[4:24, 30:60] == 10 + 50 * number).all()
        assert (cell[:4] == 215).all()
        assert (cell[4:24, :30] == 215).all()
        assert (cell[25:] < 100).any()
    assert (sheet[60:, 90:] == 215).all()
    assert contact_sheet(pictures[:1], columns=2).size == (90, 60)
