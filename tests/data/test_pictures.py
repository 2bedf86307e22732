"""Picture files of every kind: upright RGB, the size without decoding, and one sentence for what is none."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sanakit.common.errors import PictureError
from sanakit.data.pictures import decode_picture, picture_size, stored_upright

CORNERS = np.zeros((20, 30, 3), np.uint8)
CORNERS[:10, :10] = (255, 0, 0)  # red at the top left
CORNERS[10:, 20:] = (0, 0, 255)  # blue at the bottom right


def encoded(image: Image.Image, picture_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=picture_format, **options)
    return buffer.getvalue()


def orientation(number: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274] = number
    return exif


# What undoes each orientation, by the EXIF standard, on rows and columns.
UPRIGHT = {
    1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1), 7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}  # fmt: skip


@pytest.mark.parametrize("picture_format", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("number", range(1, 9))
def test_pictures_are_turned_as_their_camera_was_held(picture_format: str, number: int) -> None:
    options: dict[str, Any] = {"quality": 95, "subsampling": 0} if picture_format == "JPEG" else {}
    options |= {"lossless": True} if picture_format == "WEBP" else {}
    content = encoded(Image.fromarray(CORNERS), picture_format, exif=orientation(number), **options)
    expected = UPRIGHT[number](CORNERS)
    found = decode_picture(content)
    assert picture_size(io.BytesIO(content)) == found.size == (expected.shape[1], expected.shape[0])
    assert np.abs(np.asarray(found).astype(int) - expected).mean() < 3  # JPEG at the edges
    assert 274 not in found.getexif()


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    values = np.linspace(0, 65535, 600).reshape(20, 30).astype(np.uint16)
    found = np.asarray(decode_picture(encoded(Image.fromarray(values), "PNG")))
    assert np.array_equal(found, np.repeat(np.round(values / 257).astype(np.uint8)[..., None], 3, axis=2))


def test_transparency_lies_over_white() -> None:
    rgba = Image.fromarray(np.dstack([CORNERS, np.full((20, 30), 0, np.uint8)]))
    assert np.asarray(decode_picture(encoded(rgba, "PNG"))).min() == 255
    half = Image.fromarray(np.dstack([CORNERS, np.full((20, 30), 128, np.uint8)]))
    expected = CORNERS.astype(float) * 128 / 255 + 255 * 127 / 255
    assert np.abs(np.asarray(decode_picture(encoded(half, "WEBP", lossless=True))) - expected).max() <= 1
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([9, 9, 9, 200, 0, 0])
    palette.putpixel((1, 1), 1)
    found = decode_picture(encoded(palette, "PNG", transparency=0))
    assert (found.getpixel((0, 0)), found.getpixel((1, 1))) == ((255, 255, 255), (200, 0, 0))
    grey = encoded(Image.new("LA", (2, 2), (0, 0)), "PNG")
    assert decode_picture(grey).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["1", "L", "CMYK", "P"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = Image.new("RGB", (8, 8), (255, 255, 255)).convert(mode)
    found = decode_picture(encoded(image, "JPEG" if mode == "CMYK" else "PNG"))
    assert found.mode == "RGB"
    assert np.asarray(found).min() >= 253


def test_an_animation_is_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.asarray(decode_picture(content))[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(40), b"\xff\xd8\xff\xe0"])
def test_what_is_no_picture_is_one_sentence(content: bytes) -> None:
    with pytest.raises(PictureError) as size_error:
        picture_size(io.BytesIO(content))
    with pytest.raises(PictureError):
        decode_picture(content)
    assert "\n" not in str(size_error.value)


@pytest.mark.parametrize("picture_format", ["PNG", "JPEG", "WEBP"])
def test_a_cut_off_picture_has_a_size_and_no_pixels(picture_format: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    content = encoded(Image.fromarray(noise), picture_format)
    cut = content[: len(content) // 2]
    if picture_format != "WEBP":  # its header holds the length of the file
        assert picture_size(io.BytesIO(cut)) == (64, 64)
    with pytest.raises(PictureError):
        decode_picture(cut)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_says_nothing_about_the_pixels() -> None:
    content = encoded(Image.fromarray(CORNERS), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    assert decode_picture(content).size == picture_size(io.BytesIO(content)) == (30, 20)


def test_only_what_every_reader_sees_right_is_stored_as_it_is() -> None:
    image = Image.fromarray(CORNERS)
    assert [stored_upright(encoded(image, name)) for name in ("PNG", "JPEG", "WEBP", "BMP")] == [
        "png", "jpg", "webp", None,
    ]  # fmt: skip
    assert stored_upright(encoded(image, "JPEG", exif=orientation(6))) is None
    assert stored_upright(encoded(Image.fromarray(np.zeros((4, 4), np.uint16)), "PNG")) is None


@pytest.mark.parametrize(
    ("start", "words"),
    [
        *((b"\0\0\0\x18ftyp" + brand, "it is HEIC, as phones write it") for brand in (
            b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1",
        )),
        (b"\0\0\0\x18ftypavif", "the file is no picture|damaged"),
        (b"\0\0\0\x18ftypmp42", "it is a clip, where a picture is wanted"),
        (b"\x1aE\xdf\xa3" + bytes(20), "it is a clip, where a picture is wanted"),
        (b"\0\0\0\x18xxxxheic", "the file is no picture"),
    ],
)  # fmt: skip
def test_pictures_of_phones_are_called_by_their_name(start: bytes, words: str) -> None:
    with pytest.raises(PictureError, match=words):
        decode_picture(start + bytes(40))
