"""Pictures that begin with another: where the solver starts, what is read, what a record knows."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.common.errors import PictureError, RequestError
from sanakit.common.seeds import draw_noise
from sanakit.pipelines.decoding.encode import encode_pixels
from sanakit.pipelines.decoding.tiling import Tiling, encode_tiled
from sanakit.pipelines.events import Notice, StepDone
from sanakit.pipelines.picture_file import write_image
from sanakit.pipelines.plan import PicturePlan, first_step, plan_pictures
from sanakit.pipelines.record import PictureRecord
from sanakit.pipelines.replay import replay
from sanakit.pipelines.request import GenerationRequest
from sanakit.pipelines.resolution import size_like
from sanakit.pipelines.sources.picture import SourcePicture
from sanakit.pipelines.text_to_image import TextToImagePipeline


def picture(width: int = 128, height: int = 128, seed: int = 0) -> Image.Image:
    levels = np.random.default_rng(seed).integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
    return Image.fromarray(levels).resize((width, height), Image.Resampling.NEAREST)


def plan_of(pipeline: TextToImagePipeline, **fields: Any) -> PicturePlan:
    request = GenerationRequest(prompt="a cat", image=picture(), **fields)
    return plan_pictures([request], pipeline.bundle.card, pipeline.granularity)[0]


def latent_of(pipeline: TextToImagePipeline, prompt: str = "a cat", **fields: Any) -> Tensor:
    return pipeline(prompt, output="latent", **fields).images[0].latent


@pytest.mark.parametrize(
    ("steps", "strength", "expected"),
    [
        (2, 0.6, 0), (2, 0.5, 1), (2, 0.51, 0), (2, 0.4, 1), (2, 1.0, 0), (1, 0.5, 0), (1, 1.0, 0), (4, 0.6, 1),
        (4, 0.5, 2), (4, 0.25, 3), (20, 0.6, 8), (20, 0.3, 14), (20, 0.01, 19), (3, 0.1, 2), (2, 1e-20, 1),
    ],
)  # fmt: skip
def test_the_step_that_a_strength_begins_with(steps: int, strength: float, expected: int) -> None:
    assert first_step(steps, strength) == expected
    if strength > 1e-9:
        assert expected == int(max(steps - min(steps * strength, steps), 0))


@pytest.mark.parametrize(("steps", "strength", "angle"), [(2, 0.6, math.pi / 2), (2, 0.5, 1.3), (4, 0.5, 1.1)])
def test_the_first_latent_is_the_picture_under_noise_of_its_angle(
    sprint: TextToImagePipeline, steps: int, strength: float, angle: float
) -> None:
    plan = plan_of(sprint, num_inference_steps=steps, strength=strength)
    source, noise = (torch.randn(2, 3, generator=torch.Generator().manual_seed(n), dtype=torch.float64) for n in (1, 2))
    found = plan.solver.schedule().first_latent(noise, source, plan.start)
    expected = (math.cos(angle) * source + math.sin(angle) * noise) / (math.cos(angle) + math.sin(angle))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-15)


def test_the_smaller_the_strength_the_more_is_kept(pipeline: TextToImagePipeline) -> None:
    source = pipeline.encode(SourcePicture.of(picture()), (128, 128))
    common = {"image": picture(), "num_inference_steps": 10, "guidance_scale": 1.0}
    away = [float((latent_of(pipeline, strength=s, **common) - source).norm()) for s in (0.1, 0.4, 0.8)]
    assert away == sorted(away)
    assert not torch.equal(latent_of(pipeline, **common), latent_of(pipeline, num_inference_steps=10, guidance_scale=1))


def test_fewer_steps_are_made_and_told_from_zero(pipeline: TextToImagePipeline) -> None:
    told: list[Any] = []
    pipeline("a cat", image=picture(), num_inference_steps=10, strength=0.4, on_event=told.append, output="latent")
    steps = [(event.index, event.total) for event in told if isinstance(event, StepDone)]
    assert steps == [(0, 4), (1, 4), (2, 4), (3, 4)]


def test_start_angles_and_what_is_taken_when_nothing_is_said(sprint: TextToImagePipeline) -> None:
    assert plan_of(sprint).solver.angles == (1.3,)
    assert plan_of(sprint, num_inference_steps=4, start_angle=1.2).solver.angles == (1.2, 1.1, 0.6)
    assert plan_of(sprint, angles=(0.8, 0.4)).solver.angles == (0.8, 0.4)
    plan = plan_of(sprint, num_inference_steps=4, start_angle=1.2)
    assert (plan.request.start_angle, len(plan.request.angles or ()), plan.start) == (1.2, 4, 0)
    for again in (plan, plan_of(sprint, strength=0.5)):
        assert None not in again.request.model_dump().values()
        assert plan_pictures([again.request], sprint.bundle.card, sprint.granularity) == [again]
    assert torch.equal(
        latent_of(sprint, image=picture(), start_angle=1.3), latent_of(sprint, image=picture(), strength=0.5)
    )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"strength": 0.6}, r"no influence: strength=0.6 begins with step 1 of 2, .* strength up to 0.5 or --start-a"),
        ({"start_angle": 1.5708}, "start_angle=1.5708 begins with step 1 of 2, where all is noise; give --"),
        ({"strength": 0.5, "num_inference_steps": 1}, "step 1 of 1, where all is noise; give more steps or --"),
        ({"strength": 0.5}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_a_picture_that_has_no_influence_is_told(
    sprint: TextToImagePipeline, fields: dict[str, Any], words: str | None
) -> None:
    told: list[Any] = []
    sprint("a cat", image=picture(), on_event=told.append, output="latent", **fields)
    notices = [event.message for event in told if isinstance(event, Notice)]
    assert len(notices) == (words is not None)
    if words is not None:
        with pytest.raises(AssertionError, match=words):
            raise AssertionError(notices[0])


def test_alone_in_company_and_again(pipeline: TextToImagePipeline, sprint: TextToImagePipeline, tmp_path: Path) -> None:
    picture().save(tmp_path / "source.png")
    for number, model in enumerate((pipeline, sprint)):
        common: dict[str, Any] = {"image": tmp_path / "source.png", "num_inference_steps": 4, "strength": 0.5}
        together = model(["a dog", "a cat"], seed=3, num_images=2, **common).images
        alone = model("a cat", seed=4, **common).images[0]
        assert torch.equal(alone.latent, together[3].latent)
        file = tmp_path / f"made-{number}.png"
        write_image(file, alone.image, alone.record)
        assert replay(file, model).identical
        assert "Denoising strength: 0.5" in alone.record.to_a1111()


def test_a_replay_finds_the_picture_or_says_what_is_missing(sprint: TextToImagePipeline, tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    source = tmp_path / "away" / "source.png"
    picture().save(source)
    made = sprint("a cat", image=str(source)).images[0]
    file = write_image(tmp_path / "made.png", made.image, made.record)
    with pytest.raises(PictureError, match=r"made from source.png \(128x128 px, RGB SHA-256 .*\), which is not beside"):
        replay(file, sprint)
    assert replay(file, sprint, image=source).identical
    with pytest.raises(PictureError, match=r"was made from source.png .*, and this is the picture"):
        replay(file, sprint, image=picture(seed=1))
    picture(seed=1).save(tmp_path / "source.png")
    with pytest.raises(PictureError, match="not beside it"):
        replay(file, sprint)
    picture().save(tmp_path / "source.png", compress_level=0)  # other bytes, the same pixels
    assert replay(file, sprint).identical
    with pytest.raises(RequestError, match=r"source.png .* is not here; give it as image="):
        sprint(PictureRecord.from_json(made.record.to_json()).request)
    plain = sprint("a cat").images[0]
    with pytest.raises(PictureError, match="from its prompt alone"):
        replay(write_image(tmp_path / "plain.png", plain.image, plain.record), sprint, image=source)


def test_a_record_names_no_place(sprint: TextToImagePipeline, tmp_path: Path) -> None:
    picture().save(tmp_path / "source.png")
    record = sprint("a cat", image=tmp_path / "source.png").images[0].record
    assert str(tmp_path) not in record.to_json()
    content = json.loads(record.to_json())
    facts = content["request"]["image"]
    assert facts == {"width": 128, "height": 128, "sha256": SourcePicture.of(picture()).sha256, "name": "source.png"}
    assert PictureRecord.from_json(json.dumps(content)) == record
    for hostile in (str(tmp_path / "source.png"), {**facts, "name": "../source.png"}, {**facts, "name": ".."}, [1], 7,
                    {**facts, "sha256": "x"}, {**facts, "width": 0}):  # fmt: skip
        content["request"]["image"] = hostile
        with pytest.raises(PictureError, match="the record is damaged: request"):
            PictureRecord.from_json(json.dumps(content))


def saved(image: Image.Image, kind: str, **options: Any) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return Image.open(buffer)


def turned(image: Image.Image) -> Image.Image:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(image.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)


def see_through(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    image.putalpha(Image.new("L", image.size, 0))
    return saved(image, "PNG")


WHITE = Image.new("RGB", (64, 48), (255, 255, 255))
GRAY = picture(64, 48).convert("L")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (turned(picture(64, 48)), picture(64, 48)),
        (see_through(picture(64, 48)), WHITE),
        (saved(picture(64, 48).quantize(8), "GIF"), picture(64, 48).quantize(8)),
        (saved(Image.fromarray(np.asarray(GRAY).astype(np.uint16) * 257), "PNG"), GRAY),
        (saved(picture(64, 48).convert("CMYK"), "TIFF"), picture(64, 48).convert("CMYK")),
        (picture(64, 48).convert("1"), picture(64, 48).convert("1")),
        (np.asarray(picture(64, 48)), picture(64, 48)),
        (np.asarray(picture(64, 48)).astype(np.float32) / 255, picture(64, 48)),
        (np.asarray(GRAY), GRAY),
    ],
    ids=["exif", "alpha", "palette", "16 bits", "cmyk", "1 bit", "array", "unit array", "gray array"],
)
def test_pictures_of_every_kind(given: Any, expected: Image.Image) -> None:
    found = SourcePicture.of(given)
    assert (found.width, found.height) == (64, 48)
    assert found.sha256 == SourcePicture.of(expected.convert("RGB")).sha256


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ("nowhere.png", PictureError, "nowhere.png does not exist or is no file"),
        (__file__, PictureError, "test_image_to_image.py: the file is no picture"),
        (7, RequestError, "image=int is not usable; give the name of a file"),
        (np.zeros((4, 4, 2), np.uint8), RequestError, r"image=uint8 of shape \(4, 4, 2\) is not usable"),
        (np.full((4, 4), np.nan), RequestError, "image=float64 of shape"),
        (np.zeros((0, 4, 3)), RequestError, r"image=float64 of shape \(0, 4, 3\)"),
    ],
)
def test_what_is_no_picture_is_one_sentence(given: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        GenerationRequest(prompt="a cat", image=given)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"strength": 0.5}, "strength says how a picture is changed; give that as image, or leave it out"),
        ({"start_angle": 1.0}, "start_angle says how a picture is changed"),
        ({"image": picture(), "strength": 0.5, "start_angle": 1.0}, "both say where to begin; give one of them"),
        ({"image": picture(), "strength": 0.0}, "strength=0.0 is not usable; it must be the share"),
        ({"image": picture(), "strength": 1.5}, "strength=1.5 is not usable"),
        ({"image": picture(), "start_angle": 2.0}, "start_angle=2.0 is not usable; it must be an angle above 0"),
        ({"image": picture(), "start_angle": 1.0}, "start_angle has no meaning beside the solver flow-dpm, which"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit(pipeline: TextToImagePipeline, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        pipeline("a cat", **fields)


def test_a_picture_gives_its_shape_where_no_size_is_asked_for(pipeline: TextToImagePipeline) -> None:
    made = pipeline("a cat", image=picture(320, 160), num_inference_steps=1).images[0]
    assert made.image.size == (192, 96)
    assert pipeline("a cat", image=picture(320, 160), width=128, height=128).images[0].image.size == (128, 128)
    assert size_like(3000, 4000, 1024, 32) == (832, 1152)
    assert size_like(10, 4000, 1024, 32) == (512, 2048)
    assert size_like(10, 4000, 128, 32) == (64, 256)


def test_hostile_pictures_and_names(pipeline: TextToImagePipeline, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"100000x1 px, .*\) is too long for a picture of 256x64 px; cut it before"):
        pipeline("a cat", image=Image.new("RGB", (100_000, 1)), width=256, height=64)
    for name in ("back\\slash.png", "byte\udce9.png"):
        picture().save(tmp_path / name)
        record = pipeline("a cat", image=tmp_path / name, num_inference_steps=1, output="latent").images[0].record
        assert json.loads(record.to_json())["request"]["image"]["name"] == ""
    (tmp_path / "empty.png").touch()
    for given in (tmp_path, tmp_path / "empty.png", "/dev/null"):
        with pytest.raises(PictureError, match=r"is no file|the file is empty"):
            pipeline("a cat", image=given)
    cut = (tmp_path / "cut.png", io.BytesIO())
    picture().save(cut[1], "PNG")
    cut[0].write_bytes(cut[1].getvalue()[:200])
    with pytest.raises(PictureError, match=r"cut\.png: the picture is damaged"):
        pipeline("a cat", image=cut[0])


def test_encoding_in_tiles_is_the_same_but_for_what_a_tile_sees(tiny_bundle: ModelBundle) -> None:
    pixels = torch.randn(1, 3, 96, 160, generator=torch.Generator().manual_seed(0))
    tiling = Tiling(tile=64, stride=48)
    found = encode_tiled(lambda tile: F.avg_pool2d(tile, 16), pixels, tiling, 16)
    torch.testing.assert_close(found, F.avg_pool2d(pixels, 16), rtol=0, atol=1e-6)
    whole = encode_pixels(tiny_bundle.autoencoder, pixels)
    tiled = encode_pixels(tiny_bundle.autoencoder, pixels, free_memory=lambda device: 1, tilings=(tiling,))
    assert tiled.shape == whole.shape == (1, 4, 6, 10)
    assert not torch.equal(tiled, whole)


def test_noise_that_is_given_is_laid_over_the_picture(pipeline: TextToImagePipeline) -> None:
    noise = draw_noise((1, 4, 8, 8), 5)
    by_seed = latent_of(pipeline, image=picture(), seed=5, num_inference_steps=2)
    assert torch.equal(latent_of(pipeline, image=picture(), latents=noise, num_inference_steps=2), by_seed)
