"""Colours of files with a profile: those that a screen shows, whatever the file calls them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image, ImageCms

from sanakit.common.errors import PictureError
from sanakit.data.pictures import decode_picture, stored_upright

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
GREEN, SKIN = (40, 160, 60), (224, 172, 140)
# Display P3, whose primaries are adapted to the white of profiles (D50); rows are X, Y, Z of red, green and blue.
P3 = ((0.5151, 0.2412, -0.0011), (0.2919, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))


def profile(colours: Sequence[tuple[float, float, float]], *, space: bytes = b"RGB ", gamma: float = 2.2) -> bytes:
    """A profile of matrix and curve by the ICC's first specification; no colours: one of gray."""

    def number(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def place(values: Sequence[float]) -> bytes:
        return b"XYZ " + bytes(4) + b"".join(map(number, values))

    curve = b"curv" + bytes(4) + struct.pack(">IHH", 1, round(gamma * 256), 0)
    parts = [(b"wtpt", place((0.9642, 1.0, 0.8249)))]
    parts += [(letter + b"XYZ", place(values)) for letter, values in zip((b"r", b"g", b"b"), colours, strict=False)]
    parts += [(letter + b"TRC", curve) for letter in ((b"r", b"g", b"b") if colours else (b"k",))]
    start, table, content = 132 + 12 * len(parts), b"", b""
    for name, value in parts:
        table += name + struct.pack(">II", start + len(content), len(value))
        content += value
    head = bytes(4) + struct.pack(">I", 0x02100000) + b"mntr" + space + b"XYZ " + bytes(12) + b"acsp"
    head = head.ljust(64, b"\0") + b"".join(map(number, (0.9642, 1.0, 0.8249)))
    body = head.ljust(124, b"\0") + struct.pack(">I", len(parts)) + table + content
    return struct.pack(">I", len(body) + 4) + body


WIDE, GRAY = profile(P3), profile((), space=b"GRAY", gamma=1.0)


def encoded(image: Image.Image, picture_format: str, icc: bytes | None) -> bytes:
    lossless = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(picture_format, {})
    buffer = io.BytesIO()
    image.save(buffer, format=picture_format, icc_profile=icc, **lossless)
    return buffer.getvalue()


def as_a_phone_writes(colour: tuple[int, int, int], picture_format: str) -> bytes:
    image = Image.new("RGB", (16, 16), colour)
    wide = ImageCms.profileToProfile(image, SRGB, ImageCms.ImageCmsProfile(io.BytesIO(WIDE)))
    assert wide is not None
    assert np.abs(np.subtract(wide.getpixel((0, 0)), colour)).max() > 8
    return encoded(wide, picture_format, WIDE)


@pytest.mark.parametrize("picture_format", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("colour", [GREEN, SKIN, (255, 255, 255), (0, 0, 0)])
def test_a_wide_colour_space_is_brought_to_srgb(picture_format: str, colour: tuple[int, int, int]) -> None:
    if colour in (GREEN, SKIN):
        content = as_a_phone_writes(colour, picture_format)
        assert stored_upright(content) is None  # readers that know no profiles would see it wrong
    else:
        content = encoded(Image.new("RGB", (16, 16), colour), picture_format, WIDE)
    found = np.asarray(decode_picture(content)).reshape(-1, 3).mean(0)
    np.testing.assert_allclose(found, colour, atol=2)


def test_alpha_and_palettes_are_of_the_profile_too() -> None:
    wide = Image.open(io.BytesIO(as_a_phone_writes(GREEN, "PNG")))
    clear = wide.convert("RGBA")
    clear.putpixel((0, 0), (0, 0, 0, 0))
    found = decode_picture(encoded(clear, "PNG", WIDE))
    assert found.getpixel((0, 0)) == (255, 255, 255)
    np.testing.assert_allclose(found.getpixel((5, 5)), GREEN, atol=2)
    few = wide.convert("P", palette=Image.Palette.ADAPTIVE)
    np.testing.assert_allclose(decode_picture(encoded(few, "PNG", WIDE)).getpixel((5, 5)), GREEN, atol=2)


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_gray_has_profiles_as_well(mode: str) -> None:
    half = {"L": 128, "LA": (128, 255), "I;16": 128 * 257}[mode]
    found = decode_picture(encoded(Image.new(mode, (4, 4), half), "PNG", GRAY))
    np.testing.assert_allclose(found.getpixel((0, 0)), (188, 188, 188), atol=1)  # linear 0.5 by sRGB's curve


def test_a_profile_that_moves_colours_by_a_few_levels_counts() -> None:
    content = encoded(Image.new("L", (4, 4), 128), "PNG", profile((), space=b"GRAY", gamma=2.0))
    assert stored_upright(content) is None
    np.testing.assert_allclose(decode_picture(content).getpixel((0, 0)), (137, 137, 137), atol=1)  # linear 0.252


@pytest.mark.parametrize("icc", [SRGB.tobytes(), b"no profile", WIDE[:200], GRAY, None])
def test_what_says_nothing_changes_nothing(icc: bytes | None) -> None:
    """sRGB itself, a damaged profile, and one of gray in a picture of colours."""
    noise = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    content = encoded(Image.fromarray(noise), "PNG", icc)
    assert np.array_equal(np.asarray(decode_picture(content)), noise)
    assert stored_upright(content) == "png"


def test_thirty_two_bits_are_eight_or_sixteen() -> None:
    levels = np.array([[0, 40, 255]], np.int32)
    for values in (levels, levels * 257):
        found = np.asarray(decode_picture(encoded(Image.fromarray(values), "TIFF", None)))
        assert found[0, :, 0].tolist() == [0, 40, 255]


def named(content: bytes, primaries: int, curve: int) -> bytes:
    """A PNG with cICP behind its header, or an AVIF that names its colours."""
    if content[:4] == b"\x89PNG":
        chunk = b"cICP" + bytes([primaries, curve, 0, 1])
        return content[:33] + struct.pack(">I", 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + content[33:]
    own = content.index(b"colrnclx") + 8
    return content[:own] + struct.pack(">HH", primaries, curve) + content[own + 4 :]


@pytest.mark.parametrize("picture_format", ["PNG", "AVIF"])
def test_colours_that_are_named_without_a_profile(picture_format: str) -> None:
    """Of Display P3, and of BT.2020 with a curve of 2.2; expected values by the formulas of H.273 in float64."""
    plain = encoded(Image.new("RGB", (16, 16), (200, 60, 40)), picture_format, None)
    for primaries, curve, expected in ((12, 13, (217, 42, 23)), (9, 4, (249, 0, 13)), (1, 13, (200, 60, 40))):
        found = decode_picture(named(plain, primaries, curve)).getpixel((5, 5))
        np.testing.assert_allclose(found, expected, atol=3)
    for curve in (16, 18):
        with pytest.raises(PictureError, match="HDR"):
            decode_picture(named(plain, 9, curve))
    assert stored_upright(named(plain, 12, 13)) is None


def test_a_named_colour_space_counts_before_a_profile_in_png_alone() -> None:
    content = encoded(Image.new("RGB", (16, 16), (200, 60, 40)), "PNG", WIDE)
    assert decode_picture(named(content, 1, 13)).getpixel((5, 5)) == (200, 60, 40)


def exif(space: int, index: str | None) -> bytes:
    found = Image.Exif()
    found[0x8769] = {0xA001: space, **({} if index is None else {0xA005: {1: index}})}
    return found.tobytes()


@pytest.mark.parametrize(("space", "index", "is_adobe"), [
    (0xFFFF, "R03", True), (2, None, True), (1, "R98", False), (0xFFFF, None, False),
])  # fmt: skip
@pytest.mark.parametrize("picture_format", ["JPEG", "WEBP", "PNG"])
def test_a_camera_set_to_adobe_rgb_says_so_in_exif(
    picture_format: str, space: int, index: str | None, is_adobe: bool
) -> None:
    buffer = io.BytesIO()
    settings = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}, "PNG": {}}[picture_format]
    Image.new("RGB", (16, 16), (200, 160, 140)).save(buffer, picture_format, exif=exif(space, index), **settings)
    found = np.asarray(decode_picture(buffer.getvalue())).reshape(-1, 3).mean(0)
    np.testing.assert_allclose(found, (215, 161, 140) if is_adobe else (200, 160, 140), atol=2)
    assert (stored_upright(buffer.getvalue()) is None) == is_adobe
