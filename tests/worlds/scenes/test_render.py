"""Pictures: the truth's boxes are where the pixels are, and colour words look like themselves."""

from __future__ import annotations

from importlib import resources
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from sanakit.common.errors import ConfigError
from sanakit.worlds.building.packages import FLUENT_FLAT
from sanakit.worlds.drawing.backgrounds import background_image
from sanakit.worlds.drawing.compose import pixel_box
from sanakit.worlds.scenes.render import render
from sanakit.worlds.scenes.scene import Scene
from sanakit.worlds.scenes.scenes import StarterScenes
from sanakit.worlds.scenes.sprites import SpriteBank, load_sprite_bank
from sanakit.worlds.scenes.tint import tint_sprite
from sanakit.worlds.scenes.vocabulary import BACKGROUNDS, COLOURS, ITEMS


def test_the_bank_is_small_and_holds_every_object_cropped() -> None:
    folder = resources.files("sanakit").joinpath("starter")
    assert len(folder.joinpath("sprites.webp").read_bytes()) < 400_000
    bank = load_sprite_bank()
    for name, item in ITEMS.items():
        height, width, channels = bank.sprite(name).shape
        assert (max(height, width), channels) == (128, 4)
        assert width / height == pytest.approx(item.aspect, abs=0.01), name
        alpha = bank.sprite(name)[..., 3]
        for edge in (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]):
            assert edge.max() > 16, f"{name} is not cropped to its content"


def test_a_bank_with_missing_objects_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"lacks .*dog"):
        SpriteBank({"cat": load_sprite_bank().sprite("cat")})


@pytest.mark.parametrize("size", [96, 128, 256])
def test_boxes_are_where_the_pixels_are(size: int) -> None:
    bank = load_sprite_bank()
    data = StarterScenes(bank, "train", seed=1, size=size)
    for index in range(40):
        image, _, scene = data.sample(index)
        assert image.shape == (size, size, 3)
        for thing in scene.objects:
            alone = Scene(kind="single", objects=(thing,), background=scene.background)
            picture = render(alone, bank, size).astype(int)
            empty = np.asarray(background_image(scene.background, size)).astype(int)
            rows, columns = np.nonzero(np.abs(picture - empty).max(-1) > 6)
            found = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            # One pixel of rounding, and one more where a soft outline is as light as the background.
            assert np.abs(np.subtract(found, pixel_box(thing.box, size))).max() <= max(2, size // 64), (thing, found)
            left, top, right, bottom = pixel_box(thing.box, size)
            inside = (slice(top, bottom), slice(left, right))
            assert np.array_equal(image[inside], picture[inside].astype(np.uint8)), "another object lies over it"


def test_backgrounds_differ_from_each_other() -> None:
    pictures = {name: np.asarray(background_image(name, 64)).astype(float) for name in BACKGROUNDS}
    for a, b in combinations(pictures, 2):
        assert np.linalg.norm(pictures[a] - pictures[b], axis=-1).mean() > 30, (a, b)


@pytest.mark.parametrize("colour", COLOURS)
def test_a_tinted_object_has_the_colour_of_its_word(colour: str) -> None:
    palette = np.array(list(COLOURS.values()), dtype=float)
    bank = load_sprite_bank()
    for name, item in ITEMS.items():
        sprite, natural = bank.sprite(name, colour), bank.sprite(name).astype(float)
        kept = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in item.kept_colours], dtype=float)
        opaque = sprite[..., 3] == 255
        painted = opaque & (np.linalg.norm(natural[..., None, :3] - kept, axis=-1).min(-1) > 20)
        nearest = np.linalg.norm(sprite[painted][:, None, :3] - palette, axis=-1).argmin(-1)
        assert (nearest == list(COLOURS).index(colour)).mean() > 0.5, name
        assert painted.sum() > 0.25 * opaque.sum(), f"hardly anything of {name} takes the colour"


def test_tinting_keeps_eyes_leaves_and_the_outline() -> None:
    pixels = np.array([[[248, 49, 47, 255], [28, 28, 28, 255], [0, 210, 106, 255], [248, 49, 47, 90]]], dtype=np.uint8)
    blue = tint_sprite(pixels, "blue", kept_colours=("#1c1c1c", "#00d26a"))
    assert tuple(blue[0, 0]) == (*COLOURS["blue"], 255)
    assert np.array_equal(blue[0, 1:3], pixels[0, 1:3])
    assert blue[0, 3, 3] == 90
    black = tint_sprite(pixels, "black", kept_colours=("#1c1c1c",))
    assert black[0, 1, 0] > 180, "eyes on a black animal must turn light"


def test_the_notice_counts_the_drawings_it_names() -> None:
    notice = (Path(__file__).parents[3] / "src/sanakit/starter/NOTICE.md").read_text()
    used = sum(item.icon is not None for item in ITEMS.values())
    assert (
        f"`{FLUENT_FLAT.name}` | {FLUENT_FLAT.version} | {FLUENT_FLAT.licence} | Copyright (c) {FLUENT_FLAT.author}"
        in notice
    )
    assert f"{used} flat emoji drawings" in notice
