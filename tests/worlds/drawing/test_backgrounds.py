"""Simple backgrounds differ, and recoloured material has the colour of its word."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from sanakit.worlds.banks.bank_files import load_bank
from sanakit.worlds.drawing.backgrounds import background_image
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
