"""The detector reads ground truth back, also when it is blurred, noisy, compressed or stretched."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from sanakit.common.errors import ShapeError
from sanakit.worlds.reading.scene_detector import load_scene_detector
from sanakit.worlds.reading.verdict import judge
from sanakit.worlds.scenes.render import render
from sanakit.worlds.scenes.scene import Scene, SceneObject
from sanakit.worlds.scenes.scenes import StarterScenes
from sanakit.worlds.scenes.sprites import load_sprite_bank

Pixels = NDArray[np.uint8]
NUM = 40


def blurred(pixels: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1.5)))


def noisy(pixels: Pixels) -> Pixels:
    noise = np.random.default_rng(0).normal(0, 12, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def compressed(pixels: Pixels) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=40)
    return np.asarray(Image.open(file))


def stretched(pixels: Pixels) -> Pixels:
    image = Image.fromarray(pixels)
    return np.asarray(image.resize(image.size, Image.Resampling.BICUBIC, box=(6, 0, 122, 128)))


def untouched(pixels: Pixels) -> Pixels:
    return pixels


@pytest.mark.parametrize(
    ("change", "least"), [(untouched, 0.97), (blurred, 0.93), (noisy, 0.93), (compressed, 0.93), (stretched, 0.93)]
)
def test_most_scenes_are_read_back_wholly(change: Callable[[Pixels], Pixels], least: float) -> None:
    scenes, detector = StarterScenes(load_sprite_bank(), "heldout", 11), load_scene_detector()
    samples = [scenes.sample(index) for index in range(NUM)]
    answers = [judge(sample.scene, detector.detect(change(sample.image))) for sample in samples]
    shares = {check: np.mean([answer[check] for answer in answers]) for check in answers[0]}
    assert all(share >= least for share in shares.values()), shares


def test_boxes_and_scores() -> None:
    box = (0.2, 0.25, 0.7, 0.75)
    scene = Scene(kind="single", objects=(SceneObject(name="apple", colour="blue", box=box),))
    (apple,) = load_scene_detector().detect(render(scene, load_sprite_bank())).objects
    assert (apple.name, apple.colour) == ("apple", "blue")
    assert apple.score > 0.7
    np.testing.assert_allclose(apple.box, box, atol=0.02)


def test_a_natural_look_has_its_colour_word() -> None:
    scene = Scene(kind="single", objects=(SceneObject(name="banana", box=(0.2, 0.2, 0.8, 0.8)),))
    (banana,) = load_scene_detector().detect(render(scene, load_sprite_bank())).objects
    assert (banana.name, banana.colour) == ("banana", "yellow")


@pytest.mark.parametrize("size", [96, 256])
def test_other_sizes(size: int) -> None:
    scenes = StarterScenes(load_sprite_bank(), "heldout", 12, size=size)
    detector = load_scene_detector()
    answers = [judge(sample.scene, detector.detect(sample.image)) for sample in map(scenes.sample, range(8))]
    assert all(answer["all right"] for answer in answers)


def test_an_empty_background_holds_nothing() -> None:
    seen = load_scene_detector().detect(np.full((128, 128, 3), 255, np.uint8))
    assert seen.objects == ()
    assert seen.background == "white"


def test_noise_is_no_known_background() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    assert load_scene_detector().detect(pixels).background is None


def test_only_square_pictures_are_read() -> None:
    with pytest.raises(ShapeError, match="128, 96"):
        load_scene_detector().detect(np.zeros((128, 96, 3), np.uint8))
