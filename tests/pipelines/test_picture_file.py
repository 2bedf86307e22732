"""Pictures on disk: the record inside, and nothing half-written."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import exifread
import piexif
import piexif.helper
import pytest
from PIL import Image, PngImagePlugin

import sanakit
from sanakit.common.errors import OutputError, PictureError
from sanakit.pipelines.picture_file import Carried, open_picture, open_single_picture, read_record, write_image
from sanakit.pipelines.record import ModelReference, PictureRecord, describe_image, software_versions
from sanakit.pipelines.request import GenerationRequest

DATA = Path(__file__).parent / "data"
FORMATS = ["png", "jpeg", "webp"]


@pytest.fixture
def image() -> Image.Image:
    return Image.radial_gradient("L").resize((64, 32)).convert("RGB")


def record_of(image: Image.Image, prompt: str = "a red, round apple", **fields: object) -> PictureRecord:
    request = GenerationRequest(
        prompt=prompt, height=32, width=64, num_inference_steps=20, guidance_scale=4.5, solver="flow-dpm",
        flow_shift=3.0, seed=7, **fields,
    )  # fmt: skip
    model = ModelReference(
        name="tiny, test", source="starter", hash="0123456789abcdef", dtypes={"transformer": "float32"}
    )  # fmt: skip
    versions = {"sanakit": "0.1.0", "torch": "2.13.0"}
    return PictureRecord(request=request, model=model, device="cpu", versions=versions, image=describe_image(image))


@pytest.mark.parametrize("picture_format", FORMATS)
@pytest.mark.parametrize(
    "prompt", ["a red, round apple", "🐶 一只猫\nsecond line", 'quotes " and \\ and é', "nul \0 byte", ""]
)
def test_the_record_comes_back(tmp_path: Path, image: Image.Image, picture_format: str, prompt: str) -> None:
    record = record_of(image, prompt, negative_prompt="blurry")
    write_image(tmp_path / "picture", image, record, picture_format)
    assert read_record(tmp_path / "picture") == record
    assert os.listdir(tmp_path) == ["picture"]


def test_a_record_without_variant_and_revision_is_read(image: Image.Image) -> None:
    """As every one that was written before they were recorded."""
    record = record_of(image)
    content = json.loads(record.to_json())
    del content["model"]["variant"], content["model"]["revision"]
    assert PictureRecord.from_json(json.dumps(content)) == record


def test_png_keeps_every_pixel(tmp_path: Path, image: Image.Image) -> None:
    write_image(tmp_path / "picture.png", image, record_of(image))
    assert describe_image(open_picture(tmp_path / "picture.png")) == describe_image(image)


def test_the_a1111_text_is_what_other_tools_parse(tmp_path: Path, image: Image.Image) -> None:
    expected = (
        "a red, round apple\nNegative prompt: blurry\n"
        "Steps: 20, Sampler: Flow DPM++ 2M, CFG scale: 4.5, Seed: 7, Size: 64x32, "
        'Model hash: 0123456789, Model: "tiny, test", Version: sanakit 0.1.0'
    )
    record = record_of(image, negative_prompt="blurry")
    write_image(tmp_path / "picture.png", image, record, "png")
    assert Image.open(tmp_path / "picture.png").info["parameters"] == expected
    for picture_format in ("jpeg", "webp"):
        write_image(tmp_path / "picture", image, record, picture_format)
        comment = Image.open(tmp_path / "picture").getexif().get_ifd(0x8769)[0x9286]
        assert comment[:8] == b"UNICODE\0"
        assert comment[8:].decode("utf-16-be") == expected


def test_other_readers_of_exif_understand_the_comment(tmp_path: Path, image: Image.Image) -> None:
    """UserComment has type UNDEFINED (7); as BYTE (1) it is no text to them."""
    record = record_of(image, "un café, 猫 😀", negative_prompt="blurry")
    for picture_format in ("jpeg", "webp"):
        path = tmp_path / f"picture.{picture_format}"
        write_image(path, image, record, picture_format)
        comment = piexif.load(Image.open(path).info["exif"])["Exif"][piexif.ExifIFD.UserComment]
        assert piexif.helper.UserComment.load(comment) == record.to_a1111()
        assert read_record(path) == record
    with (tmp_path / "picture.jpeg").open("rb") as file:  # of WebP it expects a prefix that the format does not have
        assert exifread.process_file(file)["EXIF UserComment"].field_type == 7


@pytest.mark.parametrize("picture_format", FORMATS)
def test_metadata_can_be_left_out(tmp_path: Path, image: Image.Image, picture_format: str) -> None:
    write_image(tmp_path / "picture", image, None, picture_format)
    with pytest.raises(PictureError, match="holds no record"):
        read_record(tmp_path / "picture")


def test_long_prompts_fit_into_jpeg_or_are_refused(tmp_path: Path, image: Image.Image) -> None:
    long = record_of(image, "word " * 6000)
    write_image(tmp_path / "picture.jpg", image, long, "jpeg")
    assert read_record(tmp_path / "picture.jpg") == long
    with pytest.raises(OutputError, match="write a PNG"):
        write_image(tmp_path / "other.jpg", image, record_of(image, "猫" * 20_000), "jpeg")
    write_image(tmp_path / "other.png", image, record_of(image, "猫" * 20_000), "png")
    assert sorted(os.listdir(tmp_path)) == ["other.png", "picture.jpg"]


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, image: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "picture.png").write_bytes(b"the old one")

    def fail(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OutputError, match="No space left on device"):
        write_image(tmp_path / "picture.png", image, record_of(image))
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
    [(None, "does not exist"), (b"", "not a picture"), (b"\x89PNG\r\n\x1a\nrubbish", "could not be read|not a picture"),
     (b"PK\x03\x04 a zip", "not a picture")],
)  # fmt: skip
def test_what_is_no_picture(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "picture.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PictureError, match=words):
        read_record(path)


def test_a_truncated_picture(tmp_path: Path, image: Image.Image) -> None:
    path = tmp_path / "picture.png"
    write_image(path, Image.effect_noise((64, 64), 90).convert("RGB"), record_of(image))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(PictureError, match="could not be read"):
        read_record(path)


def test_every_damage_of_an_animation_is_told(tmp_path: Path) -> None:
    path = tmp_path / "moving.gif"
    frames = [Image.effect_noise((8, 8), each) for each in (10, 50, 90)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    content = path.read_bytes()
    told = set()
    for place in range(len(content) - 400, len(content)):  # the last frames, whose first one is whole
        for damaged in (content[:place], content[:place] + b"\xff" + content[place + 1 :]):
            path.write_bytes(damaged)
            with pytest.raises(PictureError) as error:
                open_single_picture(path)
            told.add(str(error.value).removeprefix(str(path))[:10])
    assert told >= {" could not", " holds 3 p"}


def test_a_damaged_record_is_named() -> None:
    with pytest.raises(PictureError, match="record is damaged: request"):
        PictureRecord.from_json('{"model": {}, "device": "cpu", "versions": {}}')
    with pytest.raises(PictureError, match="record is damaged"):
        PictureRecord.from_json("{")


def test_a_picture_of_the_first_version_is_read(tmp_path: Path) -> None:
    """Written by 0.1.0, which called its record a recipe."""
    record = read_record(DATA / "picture-0.1.0.png")
    assert record.request.prompt == "two red apples"
    assert record.request.pag_scale == 1.5
    assert (record.threads, record.rows_per_call, record.needs) == (None, None, ())
    assert record.image == describe_image(open_picture(DATA / "picture-0.1.0.png"))
    write_image(tmp_path / "again.png", open_picture(DATA / "picture-0.1.0.png"), record)
    assert read_record(tmp_path / "again.png") == record


def test_a_record_that_needs_what_we_do_not_know_is_refused(image: Image.Image) -> None:
    record = record_of(image).model_copy(update={"needs": ("magic",), "versions": {"sanakit": "9.1"}})
    with pytest.raises(PictureError, match=r"made with magic, which this sanakit .* with sanakit 9\.1 or later"):
        PictureRecord.from_json(record.to_json())


def test_the_version_is_that_of_the_code_installed_or_not() -> None:
    assert software_versions()["sanakit"] == sanakit.__version__


def test_a_newer_record_is_called_newer_and_not_damaged(image: Image.Image) -> None:
    content = json.loads(record_of(image).to_json())
    assert content["format"] == 1
    for change, told in (
        ({"format": 2, "request": "another thing"}, "is of format 2, and this sanakit .* reads up to 1: it is newer"),
        ({"request": {**content["request"], "brand_new": 3}}, r"says request.brand_new, which .* a newer one wrote it"),
        ({"model": {**content["model"], "kind": "cloud"}}, r"says model.kind, which .* a newer one wrote it"),
        ({"request": {**content["request"], "seed": "x"}}, "damaged: request.*seed"),
        ({"request": {**content["request"], "seed": "random"}}, "damaged: request.*seed"),
        ({"rows_per_call": 0}, "damaged: rows_per_call"),
        ({"threads": -1}, "damaged: threads"),
    ):
        with pytest.raises(PictureError, match=told):
            PictureRecord.from_json(json.dumps(content | change))
    assert PictureRecord.from_json(json.dumps(content | {"newfield": 1})) == record_of(image)
    del content["format"]  # as early ones
    assert PictureRecord.from_json(json.dumps(content)) == record_of(image)
    for text in ("{", "[1]", "{" * 100000, '{"format": ' + "9" * 5000 + "}"):
        with pytest.raises(PictureError):
            PictureRecord.from_json(text)


def test_texts_keep_their_kind_of_chunk(tmp_path: Path) -> None:
    """ComfyUI finds its graph in tEXt alone, and XMP is read from iTXt alone."""
    xmp = PngImagePlugin.iTXt("<x:xmpmeta/>", "", "")
    texts = {"workflow": '{"nodes": []}', "XML:com.adobe.xmp": xmp, "Comment": "Erdbeere, 莓"}
    path = write_image(tmp_path / "a.png", Image.new("RGB", (2, 2)), carried=Carried(texts=texts))
    content = path.read_bytes()
    assert b"tEXtworkflow\0{" in content
    assert b"iTXtXML:com.adobe.xmp\0\0\0\0\0<x" in content
    with Image.open(path) as picture:
        assert picture.info["Comment"] == texts["Comment"]
