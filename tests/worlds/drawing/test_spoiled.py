"""Spoiled drawings: they differ from what they were, and say where they are seen."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.drawing.compose import compose
from sanakit.worlds.drawing.spoiled import SPOILINGS, Spoiling, can_be_spoiled, is_changed, spoil
from sanakit.worlds.drawing.spoiler import Spoiler
from sanakit.worlds.sampling.random_scenes import sample_scene


def _drawing() -> Image.Image:
    image = Image.new("RGBA", (60, 50))
    pen = ImageDraw.Draw(image)
    pen.polygon([(30, 0), (59, 49), (0, 49)], fill="red")
    pen.rectangle((22, 26, 40, 44), fill="white")
    return image


@pytest.mark.parametrize("how", SPOILINGS)
def test_a_spoiled_drawing_is_another_one(how: Spoiling) -> None:
    drawing, other = _drawing(), Image.new("RGBA", (60, 50), "blue")
    before = drawing.tobytes()
    changed = spoil(drawing, how, np.random.default_rng(0), other)
    assert (changed.mode, changed.size) == ("RGBA", drawing.size)
    assert is_changed(drawing, changed)
    assert drawing.tobytes() == before


def test_what_would_not_show_is_not_spoiled() -> None:
    ring = Image.new("RGBA", (60, 60))
    ImageDraw.Draw(ring).ellipse((0, 0, 59, 59), outline="red", width=5)
    assert not is_changed(ring, spoil(ring, "hole", np.random.default_rng(0), ring))
    assert not can_be_spoiled("shape", "ellipse")
    assert not can_be_spoiled("food", "upside down")
    assert can_be_spoiled("animal", "upside down")


def test_a_spoiler_tells_what_it_spoiled(toy_bank: Bank) -> None:
    spoiled = 0
    for number in range(20):
        rng = np.random.default_rng(number)
        scene = sample_scene(rng, toy_bank)
        spoiler = Spoiler(scene, toy_bank, rng, ways=("half",))
        picture, whole = compose(scene, toy_bank, alter=spoiler), compose(scene, toy_bank)
        assert (picture != whole).any() == bool(spoiler.boxes)
        spoiled += len(spoiler.boxes)
        for thing, box in spoiler.boxes.items():
            left, top, right, bottom = scene.objects[thing].box
            assert (box[2] - box[0]) * (box[3] - box[1]) < 0.8 * (right - left) * (bottom - top)
    assert spoiled > 15
