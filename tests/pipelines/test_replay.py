"""Making a picture again from what is inside its file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, PngImagePlugin

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.checkpoints.sources.origin import Origin, starter_folder
from sanakit.common.errors import PictureError, RequestError
from sanakit.kernels.arithmetic import own_arithmetic
from sanakit.pipelines.latent_file import hash_latent
from sanakit.pipelines.picture_file import read_record, write_image
from sanakit.pipelines.record import describe_image
from sanakit.pipelines.replay import replay
from sanakit.pipelines.text_to_image import TextToImagePipeline


@pytest.mark.parametrize("picture_format", ["png", "jpeg", "webp"])
def test_a_picture_is_made_again_to_the_bit(tmp_path: Path, pipeline: TextToImagePipeline, picture_format: str) -> None:
    made = pipeline("a cat", seed=3, num_images=2).images[1]
    write_image(tmp_path / "picture", made.image, made.record, picture_format)
    result = replay(tmp_path / "picture", pipeline)
    assert result.identical
    assert result.differences == ()
    assert result.image.image.tobytes() == made.image.tobytes()


def test_an_edited_picture_is_told_from_an_edited_record(tmp_path: Path, pipeline: TextToImagePipeline) -> None:
    made = pipeline("a cat").images[0]
    painted = made.image.copy()
    painted.paste((255, 0, 0), (0, 0, 32, 32))
    write_image(tmp_path / "painted.png", painted, made.record)
    result = replay(tmp_path / "painted.png", pipeline)
    assert not result.identical
    assert "% of the pixels" in result.differences[0]
    assert "no longer" in result.differences[1]
    assert result.image.image.tobytes() == made.image.tobytes()  # the record still makes the picture that it describes

    request = made.record.request.model_copy(update={"seed": 99})
    write_image(tmp_path / "wrong.png", made.image, made.record.model_copy(update={"request": request}))
    result = replay(tmp_path / "wrong.png", pipeline)
    assert not result.identical
    assert "% of the pixels" in result.differences[0]


def test_another_model_or_version_is_named(tmp_path: Path, pipeline: TextToImagePipeline) -> None:
    made = pipeline("a cat").images[0]
    model = made.record.model.model_copy(update={"hash": "f" * 64, "name": "other"})
    record = made.record.model_copy(update={"model": model, "versions": {"torch": "1.0"}, "device": "cuda"})
    write_image(tmp_path / "picture.png", made.image, record)
    words = " ".join(replay(tmp_path / "picture.png", pipeline).differences)
    assert "the model was other (ffffffffff)" in words
    assert "torch was 1.0" in words
    assert "the device was cuda" in words


def test_only_the_starter_is_loaded_because_a_file_says_so(
    tmp_path: Path, pipeline: TextToImagePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}

    def open_model(source: Path, **options: object) -> ModelBundle:
        asked.update(source=source, **options)
        return replace(pipeline.bundle)

    monkeypatch.setattr("sanakit.pipelines.replay.open_model", open_model)
    monkeypatch.setattr("sanakit.pipelines.replay.load_for", lambda requests, bundle: TextToImagePipeline(bundle))
    made = pipeline("a cat").images[0]
    write_image(tmp_path / "picture.png", made.image, made.record)
    with pytest.raises(PictureError, match=r"was made with tiny .* changed or made in memory .* pipeline=$"):
        replay(tmp_path / "picture.png")
    model = made.record.model.model_copy(update={"kind": "folder", "source": "mine"})
    write_image(tmp_path / "picture.png", made.image, made.record.model_copy(update={"model": model}))
    with pytest.raises(PictureError, match=r"was made with tiny .* name the model with --model \.\.\./mine"):
        replay(tmp_path / "picture.png")
    assert not asked
    model = made.record.model.model_copy(update={"kind": "starter", "source": "starter"})
    write_image(tmp_path / "picture.png", made.image, made.record.model_copy(update={"model": model}))
    assert replay(tmp_path / "picture.png").identical
    dtypes = dict.fromkeys(("transformer", "autoencoder", "text_encoder"), "float32")
    assert asked == {"source": starter_folder(), "dtype": dtypes, "quantize": None}


def test_given_latents_are_in_the_record_and_asked_for(tmp_path: Path, pipeline: TextToImagePipeline) -> None:
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(123))
    made = pipeline("a cat", latents=noise, num_images=2).images[1]
    assert made.record.latents == hash_latent(noise[1])
    assert made.record.needs == ("latents that were given",)
    write_image(tmp_path / "a.png", made.image, made.record)
    with pytest.raises(PictureError, match="which its record does not hold"):
        replay(tmp_path / "a.png", pipeline)
    with pytest.raises(PictureError, match="was not made from these latents"):
        replay(tmp_path / "a.png", pipeline, latents=noise[:1])
    assert replay(tmp_path / "a.png", pipeline, latents=noise[1:]).identical
    assert replay(tmp_path / "a.png", pipeline, latents=noise[1:].numpy()).identical
    for unusable in (noise[1:].numpy().astype(object), noise[1:].to(torch.complex64), "noise"):
        for use in (
            lambda given: replay(tmp_path / "a.png", pipeline, latents=given),
            lambda given: pipeline("a cat", latents=given),
        ):
            with pytest.raises(RequestError, match="tensor or an array of real numbers"):
                use(unusable)
    made = pipeline("a cat").images[0]
    assert made.record.latents is None
    write_image(tmp_path / "b.png", made.image, made.record)
    with pytest.raises(PictureError, match="but from the noise of its seed"):
        replay(tmp_path / "b.png", pipeline, latents=noise[:1])


def test_parts_that_were_named_are_in_the_record(tmp_path: Path, pipeline: TextToImagePipeline) -> None:
    made = pipeline("a cat").images[0]
    borrowed = {"text_encoder": Origin("folder", "mine"), "autoencoder": Origin("hub", "org/vae")}
    model = made.record.model.model_copy(update={"replaced": borrowed, "kind": "starter", "source": "starter"})
    write_image(tmp_path / "a.png", made.image, made.record.model_copy(update={"model": model}))
    assert read_record(tmp_path / "a.png").model.replaced == borrowed
    with pytest.raises(PictureError, match="--text-encoder mine --autoencoder org/vae"):
        replay(tmp_path / "a.png")
    assert replay(tmp_path / "a.png", pipeline).differences == (
        "the text encoder was mine and is the model's own",
        "the autoencoder was org/vae and is the model's own",
    )


def test_a_picture_of_another_size_is_compared_by_its_size(tmp_path: Path, pipeline: TextToImagePipeline) -> None:
    made = pipeline("a cat").images[0]
    other = Image.new("RGB", (64, 64))
    request = made.record.request.model_copy(update={"seed": 9})
    write_image(tmp_path / "picture.png", other, made.record.model_copy(update={"request": request}))
    assert "64x64 pixels and the replay 128x128" in replay(tmp_path / "picture.png", pipeline).differences[0]
    assert read_record(tmp_path / "picture.png").image.width == 128


def test_a_deterministic_picture_is_made_again_as_one(tmp_path: Path, tiny_bundle: ModelBundle) -> None:
    """Whatever the pipeline that is given does otherwise; a number of threads that is out of reach is told."""
    made = TextToImagePipeline(tiny_bundle, deterministic=6)("a cat").images[0]
    write_image(tmp_path / "picture.png", made.image, made.record.model_copy(update={"threads": 1000}))
    result = replay(tmp_path / "picture.png", TextToImagePipeline(tiny_bundle))
    assert result.identical
    assert torch.equal(result.image.latent, made.latent)
    assert result.image.record.rows_per_call == 6
    assert result.differences == (f"the CPU computed in 1000 threads and does so in {torch.get_num_threads()}",)


@pytest.mark.parametrize("picture_format", ["jpeg", "webp"])
def test_the_pixels_of_a_jpeg_and_a_webp_are_looked_at(
    tmp_path: Path, pipeline: TextToImagePipeline, picture_format: str
) -> None:
    """Black with our EXIF, and with one small spot painted over."""
    made = pipeline("a cat").images[0]
    spotted = made.image.copy()
    spotted.paste((255, 0, 0), (50, 50, 56, 56))
    for index, image in enumerate((Image.new("RGB", made.image.size), spotted)):
        write_image(tmp_path / str(index), image, made.record, picture_format)
        result = replay(tmp_path / str(index), pipeline)
        assert (result.outcome, result.identical) == ("different", False)
        assert "no longer those that the record describes" in result.differences[1]


def test_a_transparent_a_turned_and_an_animated_file_are_not_the_picture(
    tmp_path: Path, pipeline: TextToImagePipeline
) -> None:
    made = pipeline("a cat").images[0]
    write_image(tmp_path / "whole.png", made.image, made.record)
    clear, chunks = made.image.copy(), PngImagePlugin.PngInfo()
    clear.putalpha(0)
    chunks.add_text("sanakit", made.record.to_json())
    clear.save(tmp_path / "clear.png", pnginfo=chunks)
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 3
    made.image.save(tmp_path / "turned.png", pnginfo=chunks, exif=turned)
    for name in ("clear.png", "turned.png"):
        assert replay(tmp_path / name, pipeline).outcome == "different"
    other = Image.new("RGB", made.image.size)
    made.image.save(tmp_path / "moving.png", pnginfo=chunks, save_all=True, append_images=[other])
    with pytest.raises(PictureError, match="animation"):
        replay(tmp_path / "moving.png", pipeline)


def test_one_level_is_nearly_identical(
    tmp_path: Path, pipeline: TextToImagePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As between two instruction sets, which are named."""
    made = pipeline("a cat").images[0]
    for levels, outcome in ((1, "nearly identical"), (2, "different")):
        array = np.asarray(made.image).copy()
        array[3, 4, 1] += levels if array[3, 4, 1] < 128 else -levels
        image = Image.fromarray(array)
        other = {**made.record.arithmetic, "instruction set": "another"}
        record = made.record.model_copy(update={"image": describe_image(image), "arithmetic": other})
        write_image(tmp_path / "picture.png", image, record)
        result = replay(tmp_path / "picture.png", pipeline)
        assert (result.outcome, result.identical) == (outcome, False)
        assert f"by at most {levels} of 255 levels" in result.differences[0]
        assert "instruction set: another then, " in result.differences[1]


def test_a_picture_is_made_again_in_as_many_threads(tmp_path: Path, pipeline: TextToImagePipeline) -> None:
    before = torch.get_num_threads()
    with own_arithmetic(before + 1):
        made = pipeline("a cat").images[0]
    assert made.record.threads == before + 1
    write_image(tmp_path / "picture.png", made.image, made.record)
    result = replay(tmp_path / "picture.png", pipeline)
    assert result.identical
    assert result.differences == ()
    assert result.image.record.threads == before + 1
    assert torch.get_num_threads() == before


def test_early_records_without_facts_are_not_doubted(tmp_path: Path, pipeline: TextToImagePipeline) -> None:
    made = pipeline("a cat").images[0]
    write_image(tmp_path / "a.png", made.image, made.record.model_copy(update={"arithmetic": {}, "threads": None}))
    assert replay(tmp_path / "a.png", pipeline).differences == ()
