"""Pictures on disk: the recipe inside, and nothing half-written."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from PIL import Image

from sanakit.common.errors import OutputError, PictureError
from sanakit.pipelines.picture_file import open_picture, read_recipe, write_image
from sanakit.pipelines.record import ModelReference, Recipe, describe_image
from sanakit.pipelines.request import GenerationRequest

FORMATS = ["png", "jpeg", "webp"]


@pytest.fixture
def image() -> Image.Image:
    return Image.radial_gradient("L").resize((64, 32)).convert("RGB")


def recipe_of(image: Image.Image, prompt: str = "a red, round apple", **fields: object) -> Recipe:
    request = GenerationRequest(
        prompt=prompt, height=32, width=64, num_inference_steps=20, guidance_scale=4.5, solver="flow-dpm",
        flow_shift=3.0, seed=7, **fields,
    )  # fmt: skip
    model = ModelReference(
        name="tiny, test", source="starter", hash="0123456789abcdef", dtypes={"transformer": "float32"}
    )  # fmt: skip
    versions = {"sanakit": "0.1.0", "torch": "2.13.0"}
    return Recipe(request=request, model=model, device="cpu", versions=versions, image=describe_image(image))


@pytest.mark.parametrize("picture_format", FORMATS)
@pytest.mark.parametrize(
    "prompt", ["a red, round apple", "🐶 一只猫\nsecond line", 'quotes " and \\ and é', "nul \0 byte", ""]
)
def test_the_recipe_comes_back(tmp_path: Path, image: Image.Image, picture_format: str, prompt: str) -> None:
    recipe = recipe_of(image, prompt, negative_prompt="blurry")
    write_image(tmp_path / "picture", image, recipe, picture_format)
    assert read_recipe(tmp_path / "picture") == recipe
    assert os.listdir(tmp_path) == ["picture"]


def test_a_recipe_without_variant_and_revision_is_read(image: Image.Image) -> None:
    """As every one that was written before they were recorded."""
    recipe = recipe_of(image)
    content = json.loads(recipe.to_json())
    del content["model"]["variant"], content["model"]["revision"]
    assert Recipe.from_json(json.dumps(content)) == recipe


def test_png_keeps_every_pixel(tmp_path: Path, image: Image.Image) -> None:
    write_image(tmp_path / "picture.png", image, recipe_of(image))
    assert describe_image(open_picture(tmp_path / "picture.png")) == describe_image(image)


def test_the_a1111_text_is_what_other_tools_parse(tmp_path: Path, image: Image.Image) -> None:
    expected = (
        "a red, round apple\nNegative prompt: blurry\n"
        "Steps: 20, Sampler: Flow DPM++ 2M, CFG scale: 4.5, Seed: 7, Size: 64x32, "
        'Model hash: 0123456789, Model: "tiny, test", Version: sanakit 0.1.0'
    )
    recipe = recipe_of(image, negative_prompt="blurry")
    write_image(tmp_path / "picture.png", image, recipe, "png")
    assert Image.open(tmp_path / "picture.png").info["parameters"] == expected
    for picture_format in ("jpeg", "webp"):
        write_image(tmp_path / "picture", image, recipe, picture_format)
        comment = Image.open(tmp_path / "picture").getexif().get_ifd(0x8769)[0x9286]
        assert comment[:8] == b"UNICODE\0"
        assert comment[8:].decode("utf-16-be") == expected


@pytest.mark.parametrize("picture_format", FORMATS)
def test_metadata_can_be_left_out(tmp_path: Path, image: Image.Image, picture_format: str) -> None:
    write_image(tmp_path / "picture", image, None, picture_format)
    with pytest.raises(PictureError, match="holds no recipe"):
        read_recipe(tmp_path / "picture")


def test_long_prompts_fit_into_jpeg_or_are_refused(tmp_path: Path, image: Image.Image) -> None:
    long = recipe_of(image, "word " * 6000)
    write_image(tmp_path / "picture.jpg", image, long, "jpeg")
    assert read_recipe(tmp_path / "picture.jpg") == long
    with pytest.raises(OutputError, match="write a PNG"):
        write_image(tmp_path / "other.jpg", image, recipe_of(image, "猫" * 20_000), "jpeg")
    write_image(tmp_path / "other.png", image, recipe_of(image, "猫" * 20_000), "png")
    assert sorted(os.listdir(tmp_path)) == ["other.png", "picture.jpg"]


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, image: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "picture.png").write_bytes(b"the old one")

    def fail(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OutputError, match="No space left on device"):
        write_image(tmp_path / "picture.png", image, recipe_of(image))
    assert (tmp_path / "picture.png").read_bytes() == b"the old one"
    assert os.listdir(tmp_path) == ["picture.png"]


def test_places_that_cannot_be_written(tmp_path: Path, image: Image.Image) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="could not be written"):
        write_image(tmp_path / "file" / "picture.png", image)
    with pytest.raises(OutputError, match="is a folder"):
        write_image(tmp_path, image)


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file"), (b"", "not a picture"), (b"\x89PNG\r\n\x1a\nrubbish", "could not be read|not a picture"),
     (b"PK\x03\x04 a zip", "not a picture")],
)  # fmt: skip
def test_what_is_no_picture(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "picture.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PictureError, match=words):
        read_recipe(path)


def test_a_truncated_picture(tmp_path: Path, image: Image.Image) -> None:
    path = tmp_path / "picture.png"
    write_image(path, Image.effect_noise((64, 64), 90).convert("RGB"), recipe_of(image))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(PictureError, match="could not be read"):
        read_recipe(path)


def test_a_damaged_recipe_is_named() -> None:
    with pytest.raises(PictureError, match="recipe is damaged: request"):
        Recipe.from_json('{"model": {}, "device": "cpu", "versions": {}}')
    with pytest.raises(PictureError, match="recipe is damaged"):
        Recipe.from_json("{")
