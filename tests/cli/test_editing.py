"""Editing pictures, as a user would type it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from sanakit.pipelines.picture_file import read_record


@pytest.fixture
def generate(run: Any, tiny_model: Path) -> Any:
    def call(*words: object) -> Any:
        return run("generate", "a cat", "--steps", "2", *words, "--model", tiny_model, "--device", "cpu")

    return call


@pytest.fixture
def photo(tmp_path: Path) -> np.ndarray:
    """What ``photo.png`` shows; ``mask.png`` is white in its middle."""
    levels = np.random.default_rng(0).integers(0, 256, (128, 96, 3), dtype=np.uint8)
    Image.fromarray(levels).save(tmp_path / "photo.png")
    mask = Image.new("L", (96, 128), 0)
    ImageDraw.Draw(mask).rectangle((20, 30, 70, 90), fill=255)
    mask.save(tmp_path / "mask.png")
    return levels


def test_a_part_is_made_anew_and_made_again(generate: Any, run: Any, tiny_model: Path, photo: np.ndarray) -> None:
    outcome = generate("--image", "photo.png", "--mask", "mask.png", "--output", "out.png")
    assert outcome.code == 0
    assert "note: 25% of photo.png is made anew, where mask.png is white." in outcome.err
    kept = np.asarray(Image.open("mask.png")) == 0
    assert (np.asarray(Image.open("out.png"))[kept] == photo[kept]).all()
    assert run("replay", "out.png", "--model", tiny_model).out == "identical\n"
    Path("away").mkdir()
    Path("mask.png").rename("away/white.png")
    outcome = run("replay", "out.png", "--model", tiny_model)
    assert (outcome.code, "made from mask.png (96x128 px, gray SHA" in outcome.err, "--mask" in outcome.err) == (
        1,
        1,
        1,
    )
    assert run("replay", "out.png", "--model", tiny_model, "--mask", "away/white.png").out == "identical\n"


def test_sides(generate: Any, photo: np.ndarray) -> None:
    words = ("--image", "photo.png", "--mask", "mask.png", "--mask-means", "black", "--expand", "left=32")
    assert generate(*words, "--output", "out.png").code == 0
    assert Image.open("out.png").size == (128, 128)
    record = read_record("out.png")
    assert record.request.edit.expand.left == 32
    assert record.request.edit.mask.means == "black"


def test_a_picture_becomes_larger(generate: Any, run: Any, tiny_model: Path, photo: np.ndarray) -> None:
    words = ("--model", tiny_model, "--device", "cpu", "--steps", "2")
    outcome = run("enhance", "photo.png", "--factor", "2", "--output", "large.png", *words)
    assert (outcome.code, Image.open("large.png").size) == (0, (192, 256))
    assert read_record("large.png").request.guidance_scale == 1
    assert generate("--seamless", "--style", "neon", "--output", "made.png").code == 0
    request = read_record("made.png").request
    assert (request.prompt[:6], "neon light" in request.prompt, request.seamless) == ("a cat ", True, True)
    for words, sentence in (
        (("enhance", "photo.png", "--factor", "1"), "--factor 1 is not usable"),
        (("enhance", "nowhere.png"), "nowhere.png does not exist"),
        (("enhance", "photo.png", "--output", "photo.png"), "would replace the picture"),
        (("generate", "a cat", "--style", "water"), "there is no style 'water'"),
        (("generate", "a cat", "--styles", "mine.yaml"), "--style says which"),
    ):
        outcome = run(*words)
        assert (outcome.code > 0, outcome.err.count("\n"), sentence in outcome.err) == (True, 1, True)


def test_what_does_not_fit_is_one_sentence(generate: Any, photo: np.ndarray) -> None:
    Image.new("L", (8, 8)).save("black.png")
    for words, sentence in (
        (("--mask", "mask.png"), "edit says what is done to a picture; give that as image"),
        (("--image", "photo.png", "--mask", "nowhere.png"), "nowhere.png does not exist"),
        (("--image", "photo.png", "--mask", "black.png"), "has nothing white, so nothing would change; --mask-means"),
        (("--image", "photo.png", "--mask", "mask.png", "--output", "mask.png"), "would replace its mask"),
        (("--image", "photo.png", "--expand", "up=3"), "expand='up=3' is not usable"),
        (("--image", "photo.png", "--no-blend"), "--resample and --no-blend belong to an edit"),
    ):
        outcome = generate(*words)
        assert (outcome.code > 0, outcome.err.count("\n"), sentence in outcome.err) == (True, 1, True)
