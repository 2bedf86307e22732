"""Parts of a picture that are made anew: what is kept, where the seam lies, what a record knows."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from sanakit.common.errors import PictureError, RequestError
from sanakit.pipelines.editing.canvas import seam
from sanakit.pipelines.editing.edit import Edit, Expand, Mask
from sanakit.pipelines.events import Notice, StepDone
from sanakit.pipelines.latent_file import SavedLatent
from sanakit.pipelines.picture_file import write_image
from sanakit.pipelines.plan import canvas_of, plan_pictures
from sanakit.pipelines.record import EDIT, ImageReference, PictureRecord
from sanakit.pipelines.replay import replay, with_sources
from sanakit.pipelines.request import GenerationRequest
from sanakit.pipelines.sources.picture import SourcePicture
from sanakit.pipelines.text_to_image import TextToImagePipeline


def picture(width: int = 128, height: int = 128, seed: int = 0) -> Image.Image:
    levels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(levels)


def mask(width: int = 128, height: int = 128, box: tuple[int, ...] = (40, 30, 90, 100)) -> Image.Image:
    drawn = Image.new("L", (width, height), 0)
    ImageDraw.Draw(drawn).rectangle(box, fill=255)
    return drawn


def levels_of(image: Any) -> np.ndarray:
    return np.asarray(image).astype(int)


@pytest.mark.parametrize(
    "fields",
    [
        {}, {"solver": "flow-euler", "num_inference_steps": 6}, {"solver": "scm"}, {"strength": 0.5},
        {"reuse": 0.5, "num_inference_steps": 6},
        {"guidance_interval": (0.2, 0.8)}, {"pag_scale": 1.0}, {"guidance_scale": 1.0},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("size", [(128, 128), (101, 143)])
def test_outside_of_the_mask_every_pixel_is_kept(
    pipeline: TextToImagePipeline, fields: dict[str, Any], size: tuple[int, int]
) -> None:
    made = pipeline("a cat", image=picture(*size), edit=Edit(mask=mask(*size)), seed=2, **fields).images[0]
    assert made.image.size == size
    kept = np.asarray(mask(*size)) == 0
    old, new = levels_of(picture(*size)), levels_of(made.image)
    assert (old[kept] == new[kept]).all()
    assert (old[~kept] != new[~kept]).mean() > 0.8


def test_few_step_models_and_every_output(sprint: TextToImagePipeline) -> None:
    common: dict[str, Any] = {"image": picture(), "edit": Edit(mask=mask())}
    kept = np.asarray(mask()) == 0
    for fields in ({}, {"num_inference_steps": 4}, {"start_angle": 1.0}):
        assert (
            levels_of(sprint("a cat", **common, **fields).images[0].image)[kept] == levels_of(picture())[kept]
        ).all()
    for output in ("np", "tensor"):
        found = sprint("a cat", output=output, **common).images[0].picture
        assert (levels_of(found)[kept] == levels_of(picture())[kept]).all()


@pytest.mark.parametrize("solver", ["flow-dpm", "flow-euler", "scm"])
def test_the_kept_cells_of_the_latent_end_where_they_are_known(pipeline: TextToImagePipeline, solver: str) -> None:
    made = pipeline("a cat", image=picture(), edit=Edit(mask=mask()), solver=solver, output="latent").images[0]
    canvas = canvas_of(made.record.request)
    assert canvas is not None
    assert canvas.anew
    known, free = pipeline.encode(canvas, (128, 128)), canvas.free(8, 8)
    assert free[..., 2:6, 2:6].all()  # of 16 px each: columns 40 to 90, rows 30 to 100
    assert free.sum() == 16
    torch.testing.assert_close(made.latent.masked_fill(free, 0), known.masked_fill(free, 0), rtol=0, atol=1e-5)


def test_thin_masks_change_what_they_touch(pipeline: TextToImagePipeline) -> None:
    line = mask(box=(0, 60, 127, 62))
    made = pipeline("a cat", image=picture(), edit=Edit(mask=line)).images[0]
    canvas = canvas_of(made.record.request)
    assert canvas is not None
    assert canvas.free(8, 8).sum() == 8
    kept = np.asarray(line) == 0
    assert (levels_of(made.image)[kept] == levels_of(picture())[kept]).all()
    assert (levels_of(made.image)[~kept] != levels_of(picture())[~kept]).mean() > 0.8


def test_steps_are_taken_back_and_told_once(pipeline: TextToImagePipeline) -> None:
    told: list[Any] = []
    common: dict[str, Any] = {"image": picture(), "num_inference_steps": 5, "output": "latent"}
    edits = {times: Edit(mask=mask(), resample=times) for times in (0, 2)}
    made = {
        times: pipeline("a cat", edit=edit, on_event=told.append, **common).images[0] for times, edit in edits.items()
    }
    assert not torch.equal(made[0].latent, made[2].latent)
    steps = [(event.index, event.total) for event in told if isinstance(event, StepDone)]
    assert steps == 2 * [(index, 5) for index in range(5)]
    assert made[2].record.request.edit is not None
    assert made[2].record.request.edit.resample == 2


def test_what_is_made_anew_is_hidden_from_the_model(pipeline: TextToImagePipeline) -> None:
    other = Image.composite(picture(seed=9), picture(), mask())
    made = [pipeline("a cat", image=each, edit=Edit(mask=mask()), output="latent").images[0].latent
            for each in (picture(), other)]  # fmt: skip
    assert torch.equal(*made)
    half = [pipeline("a cat", image=each, edit=Edit(mask=mask()), strength=0.5, output="latent").images[0].latent
            for each in (picture(), other)]  # fmt: skip
    assert not torch.equal(*half)


def test_without_blending_the_model_draws_all_of_it(pipeline: TextToImagePipeline) -> None:
    made = pipeline("a cat", image=picture(), edit=Edit(mask=mask(), blend=False)).images[0]
    kept = np.asarray(mask()) == 0
    assert (levels_of(made.image)[kept] != levels_of(picture())[kept]).mean() > 0.5


def test_sides_are_added(pipeline: TextToImagePipeline) -> None:
    made = pipeline("a cat", image=picture(), edit={"expand": "left=32, bottom=13"}).images[0]
    assert made.image.size == (160, 141)
    assert np.array_equal(np.asarray(made.image)[:128, 32:], np.asarray(picture()))
    assert EDIT in made.record.needs
    assert len(np.unique(np.asarray(made.image)[130:].reshape(-1, 3), axis=0)) > 50
    both = pipeline("a cat", image=picture(), edit=Edit(mask=mask(), expand=16)).images[0]
    kept = np.asarray(mask()) == 0
    assert (np.asarray(both.image)[16:-16, 16:-16][kept] == np.asarray(picture())[kept]).all()
    small = pipeline("a cat", image=picture(), edit={"expand": 64}, width=128, height=128).images[0]
    assert small.image.size == (128, 128)


def test_the_seam_is_inside() -> None:
    levels = np.zeros((40, 60), np.float32)
    levels[10:30, 20:50] = 1
    levels[35, 5:50] = 1  # a line
    levels[2:6, 2:6] = 0.25
    share = seam(levels, 4).numpy()
    assert (share[levels == 0] == 0).all()
    assert (share <= levels).all()
    assert share[10:14, 35].tolist() == [0.25, 0.5, 0.75, 1.0]
    assert (share[35, 5:50] == 1).all()
    assert seam(np.ones((8, 8), np.float32), 4).min() == 1  # nothing lies outside of the whole


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return Image.open(buffer)


def hole() -> Image.Image:
    image = picture(48, 32).convert("RGBA")
    image.putalpha(mask(48, 32, (5, 5, 20, 20)).point(lambda level: 255 - level))
    return image


def turned(image: Image.Image) -> Image.Image:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(image.transpose(Image.Transpose.ROTATE_90), exif=exif)


WHITE_BOX = mask(48, 32, (5, 5, 20, 20))
SIXTEEN = Image.fromarray(np.asarray(WHITE_BOX).astype(np.uint16) * 257)
STROKES = Image.merge("LA", (Image.new("L", (48, 32), 255), WHITE_BOX))


@pytest.mark.parametrize(
    ("given", "means", "meant"),
    [
        (WHITE_BOX, None, "white"),
        (WHITE_BOX.point(lambda level: 255 - level), "black", "black"),
        (hole(), None, "transparent"),
        (turned(hole()), None, "transparent"),
        (turned(WHITE_BOX), None, "white"),
        (STROKES, "white", "white"),
        (WHITE_BOX.convert("RGBA"), None, "white"),
        (saved(WHITE_BOX.convert("P"), "GIF"), None, "white"),
        (saved(WHITE_BOX.convert("RGB"), "JPEG", quality=95, subsampling=0), None, "white"),
        (saved(WHITE_BOX.convert("RGB").convert("CMYK"), "TIFF"), None, "white"),
        (saved(SIXTEEN), None, "white"),
        (WHITE_BOX.convert("1"), None, "white"),
        (np.asarray(WHITE_BOX) > 0, None, "white"),
        (np.asarray(WHITE_BOX) / 255.0, None, "white"),
        (np.asarray(WHITE_BOX)[..., None], None, "white"),
    ],
)
def test_masks_of_every_kind(given: Any, means: Any, meant: str) -> None:
    found = Mask.of(given, means)
    assert found.means == meant
    difference = np.abs(levels_of(found.image) - levels_of(WHITE_BOX))
    assert (difference > 40).mean() < 0.01
    assert difference[:3].max() == 0


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        ({}, "an edit needs a mask, sides to expand or a factor"),
        ({"mask": Image.new("L", (8, 8))}, "has nothing white, so nothing would change; --mask-means"),
        ({"mask": 7}, "mask=int is not usable"),
        ({"expand": "lift=3"}, "expand='lift=3' is not usable; it must be numbers of pixels from 1 to 8192 for some"),
        ({"expand": 0}, "expand=0 is not usable"),
        ({"expand": "left=-5"}, "expand='left=-5' is not usable"),
        ({"expand": "left=99999"}, "is not usable"),
        ({"expand": {"left": 3.5}}, "is not usable"),
        ({"factor": 2, "expand": 3}, "a picture is made larger as a whole"),
        ({"factor": 99}, "edit.factor is not usable"),
        ({"made": 1}, "edit.made is not usable"),
        ("mask.png", "edit= takes an Edit"),
    ],
)
def test_what_is_no_edit(edit: Any, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        GenerationRequest(prompt="a cat", image=picture(), edit=edit)


def test_an_edit_needs_a_picture_and_other_names_are_told() -> None:
    with pytest.raises(RequestError, match="edit says what is done to a picture"):
        GenerationRequest(prompt="a cat", edit=Edit(expand=3))
    with pytest.raises(RequestError, match="no setting named 'mask_image'; did you mean edit"):
        GenerationRequest(prompt="a cat", mask_image=mask())
    assert Expand.of("left=3,top=4") == Expand(left=3, top=4)


def test_sizes_that_are_not_made_and_work_that_a_file_may_not_cause(pipeline: TextToImagePipeline) -> None:
    with pytest.raises(RequestError, match=r"the picture .* would become 20x20 px; an edited picture has from 32 to"):
        pipeline("a cat", image=picture(20, 20), edit=Edit(mask=mask(20, 20, (3, 3, 9, 9))))
    with pytest.raises(RequestError, match="would become 20000x8 px"):
        pipeline("a cat", image=Image.new("RGB", (2500, 1)), edit=Edit(factor=8))
    with pytest.raises(RequestError, match="upscale would part them"):
        GenerationRequest(prompt="a cat", seamless=True, upscale=2)
    made = pipeline("a cat", image=picture(), edit=Edit(mask=mask()), num_inference_steps=25, output="latent").images[0]
    image = ImageReference(width=128, height=128, sha256="0" * 64)
    made.record.model_copy(update={"image": image}).check_work("x.png", (128, 128))
    request = made.record.request.model_copy(update={"edit": Edit(mask=mask(), resample=32)})
    hostile = made.record.model_copy(update={"image": image, "request": request})
    with pytest.raises(PictureError, match="asks for 165 steps"):
        hostile.check_work("x.png", (128, 128))


def test_masks_of_other_sizes_are_told_and_stretched(pipeline: TextToImagePipeline) -> None:
    told: list[Any] = []
    edit = Edit(mask=mask(64, 32, (0, 0, 31, 31)))
    made = pipeline("a cat", image=picture(), edit=edit, on_event=told.append).images[0]
    (notice,) = [event.message for event in told if isinstance(event, Notice)]
    assert notice == "50% of the picture is made anew, where the mask is white, stretched from 64x32 to 128x128 px."
    assert np.array_equal(np.asarray(made.image)[:, 66:], np.asarray(picture())[:, 66:])
    assert (np.asarray(made.image)[:, :60] != np.asarray(picture())[:, :60]).mean() > 0.8


def test_alone_in_company_and_replayed(pipeline: TextToImagePipeline, tmp_path: Path) -> None:
    picture().save(tmp_path / "photo.png")
    see_through = picture().convert("RGBA")
    see_through.putalpha(mask().point(lambda level: 255 - level))
    see_through.save(tmp_path / "mask.png")
    common: dict[str, Any] = {"image": tmp_path / "photo.png", "edit": Edit(mask=tmp_path / "mask.png")}
    together = pipeline(["a dog", "a cat"], seed=3, num_images=2, **common).images
    alone = pipeline("a cat", seed=4, **common).images[0]
    assert torch.equal(alone.latent, together[3].latent)
    file = write_image(tmp_path / "made.png", alone.image, alone.record)
    assert replay(file, pipeline).identical
    complete = alone.record.request
    assert plan_pictures([complete], pipeline.bundle.card, pipeline.granularity)[0].request == complete
    (tmp_path / "away").mkdir()
    for name in ("photo.png", "mask.png"):
        (tmp_path / name).rename(tmp_path / "away" / name)
    with pytest.raises(PictureError, match=r"photo.png .*, which is not beside it; name it with --image"):
        replay(file, pipeline)
    assert replay(file, pipeline, image=tmp_path / "away" / "photo.png").identical
    with pytest.raises(PictureError, match=r"made from mask.png .*, which is not beside it; name it with --mask"):
        replay(file, pipeline, image=picture())
    with pytest.raises(PictureError, match=r"made from mask.png .*, and this is the mask"):
        replay(file, pipeline, image=picture(), mask=hole())
    plain = pipeline("a cat", image=picture()).images[0]
    with pytest.raises(PictureError, match="was made without a mask"):
        replay(write_image(tmp_path / "plain.png", plain.image, plain.record), pipeline, image=picture(), mask=mask())


def test_a_record_names_no_place_and_opens_no_file(pipeline: TextToImagePipeline, tmp_path: Path) -> None:
    mask().save(tmp_path / "mask.png")
    made = pipeline("a cat", image=picture(), edit=Edit(mask=tmp_path / "mask.png")).images[0]
    text = made.record.to_json()
    assert str(tmp_path) not in text
    assert PictureRecord.from_json(text) == made.record
    content = json.loads(text)
    for hostile in (str(tmp_path / "mask.png"), {"mask": str(tmp_path / "mask.png")}, [1], {"mask": [1]}, {}, {"x": 1}):
        content["request"]["edit"] = hostile
        with pytest.raises(PictureError, match="the record is damaged: request"):
            PictureRecord.from_json(json.dumps(content))


def test_a_kept_latent_needs_its_picture_again(pipeline: TextToImagePipeline, tmp_path: Path) -> None:
    made = pipeline("a cat", image=picture(), edit=Edit(mask=mask())).images[0]
    record = PictureRecord.from_json(made.record.model_copy(update={"image": None}).to_json())
    with pytest.raises(RequestError, match=r"the picture .* is not here; give it as image="):
        pipeline.decode(SavedLatent(latent=made.latent, record=record))
    request = with_sources(record, tmp_path / "x", image=picture(), mask=mask())
    again = pipeline.decode(SavedLatent(latent=made.latent, record=record.model_copy(update={"request": request})))
    assert np.array_equal(np.asarray(again.image), np.asarray(made.image))
    assert SourcePicture.of(picture()) == request.image
