"""Picture files: upright, with what they carry, and with a record where one is true."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import piexif
import piexif.helper
import pytest
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.common.errors import OutputError, PictureError, RequestError
from sanakit.models.compact_upscaler import CompactUpscaler
from sanakit.pipelines.picture_file import check_format, read_record, write_image
from sanakit.pipelines.replay import replay
from sanakit.pipelines.text_to_image import TextToImagePipeline
from sanakit.pipelines.upscaling.files import pictures_of, read_for_upscaling, upscale_picture
from sanakit.pipelines.upscaling.upscaler import NetworkUpscaler


@pytest.fixture
def upscaler(tiny_upscaler_network: CompactUpscaler) -> NetworkUpscaler:
    return NetworkUpscaler(tiny_upscaler_network, 2, name="tiny")


def colours(height: int = 6, width: int = 8) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def enlarged(path: Path, upscaler: NetworkUpscaler, picture_format: str = "png") -> Path:
    after = upscale_picture(upscaler, read_for_upscaling(path, upscaler.scale))
    out = path.with_name(f"larger.{picture_format}")
    write_image(out, after.image, after.record, picture_format, carried=after.carried)
    return out


def test_orientation_profile_and_texts(tmp_path: Path, upscaler: NetworkUpscaler) -> None:
    exif, texts = Image.Exif(), PngImagePlugin.PngInfo()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Model] = 6, "a camera"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExifImageWidth] = 8
    texts.add_text("parameters", "a cat, by somebody else")
    colours().save(tmp_path / "turned.png", exif=exif, pnginfo=texts, icc_profile=b"profile")
    for picture_format in ("png", "jpeg", "webp"):
        larger = Image.open(enlarged(tmp_path / "turned.png", upscaler, picture_format))
        assert larger.size == (12, 16)  # 8 x 6 stood on its side
        read = larger.getexif()
        assert ExifTags.Base.Orientation not in read
        assert ExifTags.Base.ExifImageWidth not in read.get_ifd(ExifTags.IFD.Exif)
        assert read[ExifTags.Base.Model] == "a camera"
        assert "enlarged 2 times from 6x8 px" in read[ExifTags.Base.Software]
        assert larger.info["icc_profile"] == b"profile"
    larger = Image.open(enlarged(tmp_path / "turned.png", upscaler))
    assert larger.text["parameters"] == "a cat, by somebody else"
    assert "by tiny" in larger.text["Software"]
    turned = Image.open(tmp_path / "turned.png").transpose(Image.Transpose.ROTATE_270)
    assert upscale_picture(upscaler, read_for_upscaling(tmp_path / "turned.png", 2)).image.tobytes() == (
        upscale_picture(upscaler, read_for_upscaling(saved(turned, tmp_path), 2)).image.tobytes()
    )


def saved(picture: Image.Image, folder: Path) -> Path:
    picture.save(folder / "upright.png", exif=b"")
    return folder / "upright.png"


def test_colours_that_a_file_only_names_are_kept_as_a_profile(tmp_path: Path, upscaler: NetworkUpscaler) -> None:
    """A PNG whose cICP says Display P3; HDR would look pale, and is refused."""
    colours().save(tmp_path / "plain.png")
    content = (tmp_path / "plain.png").read_bytes()
    for curve in (13, 16):
        chunk = b"cICP" + bytes([12, curve, 0, 1])
        chunk = struct.pack(">I", 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        (tmp_path / f"{curve}.png").write_bytes(content[:33] + chunk + content[33:])
    larger = upscale_picture(upscaler, read_for_upscaling(tmp_path / "13.png", 2))
    assert larger.carried.profile is not None
    profile = ImageCms.ImageCmsProfile(io.BytesIO(larger.carried.profile)).profile
    assert profile.red_primary[1][:2] == pytest.approx((0.680, 0.320), abs=0.04)
    with pytest.raises(PictureError, match=r"16\.png cannot be enlarged: its colours are of HDR"):
        read_for_upscaling(tmp_path / "16.png", 2)


def test_a_picture_of_ours_keeps_a_record_that_makes_it_again(
    tmp_path: Path, upscaler: NetworkUpscaler, tiny_bundle: ModelBundle
) -> None:
    pipeline = TextToImagePipeline(tiny_bundle, upscalers=lambda scale, device: upscaler)
    made = pipeline("a cat", num_inference_steps=1).images[0]
    write_image(tmp_path / "cat.png", made.image, made.record)
    larger = enlarged(tmp_path / "cat.png", upscaler)
    record = read_record(larger)
    assert (record.request.upscale, record.image.width, record.upscaler.name) == (2, 256, "tiny")
    assert replay(larger, pipeline).identical
    direct = pipeline("a cat", num_inference_steps=1, upscale=2).images[0]
    assert direct.image.tobytes() == Image.open(larger).tobytes()
    assert direct.record == record

    painted = Image.open(tmp_path / "cat.png")
    painted.putpixel((0, 0), (1, 2, 3))
    write_image(tmp_path / "painted.png", painted, made.record)
    write_image(tmp_path / "cat.jpg", made.image, made.record, "jpeg")
    for name in ("painted.png", "cat.jpg", "larger.png"):  # edited, compressed, enlarged already
        again = enlarged(tmp_path / name, upscaler, "webp")
        with pytest.raises(PictureError, match="no record"):
            read_record(again)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a picture"),
        (b"GIF89a", "could not be read|not a picture"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 50, "read"),
    ],
)
def test_what_is_no_picture(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(PictureError, match=message):
        read_for_upscaling(tmp_path / "broken.png", 4)


def test_files_that_cannot_be_enlarged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PictureError, match="no file"):
        read_for_upscaling(tmp_path, 4)
    Image.new("F", (4, 4)).save(tmp_path / "float.tif")
    with pytest.raises(PictureError, match=r"float\.tif cannot be enlarged: its pixels are floating-point"):
        read_for_upscaling(tmp_path / "float.tif", 4)
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(PictureError, match="holds 2 pictures"):
        read_for_upscaling(tmp_path / "moving.gif", 4)
    Image.new("1", (8000, 3000)).save(tmp_path / "large.png")
    with pytest.raises(RequestError, match=r"8000x3000 enlarged 4 times has 384 million.*; 2 times is possible"):
        read_for_upscaling(tmp_path / "large.png", 4)
    monkeypatch.setattr("sanakit.pipelines.upscaling.files.free_memory", lambda: 10**8)
    with pytest.raises(RequestError, match=r"1\.[0-9] GB of memory to be enlarged 2 times, and 0\.1 GB are free"):
        read_for_upscaling(tmp_path / "large.png", 2)


def test_formats_that_do_not_hold_it() -> None:
    for mode, picture_format, message in (
        ("RGBA", "jpeg", "transparency"), ("LA", "jpeg", "transparency"), ("I;16", "jpeg", "16 bits"),
        ("I;16", "webp", "16 bits"),
    ):  # fmt: skip
        with pytest.raises(OutputError, match=message):
            check_format(Image.new(mode, (4, 4)), picture_format)
    with pytest.raises(OutputError, match="up to 16383 px, and this would be 16384"):
        check_format(Image.new("RGB", (4096, 1)), "webp", 4)
    check_format(Image.new("LA", (4, 4)), "webp")


def test_values_of_a_camera_keep_their_types(tmp_path: Path, upscaler: NetworkUpscaler) -> None:
    inner = {
        piexif.ExifIFD.UserComment: piexif.helper.UserComment.dump("a note", "unicode"),
        piexif.ExifIFD.MakerNote: b"\x01\x02\x03",
        piexif.ExifIFD.ExifVersion: b"0231",
        piexif.ExifIFD.SceneType: b"\x01",
        piexif.ExifIFD.ISOSpeedRatings: 200,
    }
    place = {piexif.GPSIFD.GPSVersionID: (2, 3, 0, 0), piexif.GPSIFD.GPSProcessingMethod: b"ASCII\0\0\0GPS"}
    colours().save(tmp_path / "a.png", exif=piexif.dump({"0th": {}, "Exif": inner, "GPS": place}))
    for picture_format in ("png", "jpeg", "webp"):
        found = piexif.load(Image.open(enlarged(tmp_path / "a.png", upscaler, picture_format)).info["exif"])
        assert found["Exif"] == inner
        assert found["GPS"] == place


def test_damaged_exif_is_left_out(tmp_path: Path, upscaler: NetworkUpscaler) -> None:
    colours().save(tmp_path / "a.png", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12")
    assert Image.open(enlarged(tmp_path / "a.png", upscaler)).size == (16, 12)


def test_folders_stand_for_their_pictures(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "inner.png").mkdir()
    found = pictures_of([tmp_path, Path("other.png")])
    assert [path.name for path in found] == ["a.jpg", "b.PNG", "other.png"]
    with pytest.raises(RequestError, match="holds no picture"):
        list(pictures_of([tmp_path / "inner.png"]))
