"""Picture files of every kind that people have, as upright RGB; and their size without decoding them."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from sanakit.common.colours.named import add_named_profile
from sanakit.common.colours.profiles import in_srgb, is_srgb
from sanakit.common.errors import PictureError
from sanakit.common.picture_limits import open_within_limit, too_large

READING = 3  # version of how a file becomes pixels: part of the keys of cached latents
# What is tried on a file whatever its name is.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "PPM")
_SIDEWAYS = frozenset({5, 6, 7, 8})  # EXIF orientations that swap width and height
# What undoes each orientation.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_SIXTEEN_BIT = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})


def picture_size(file: BinaryIO) -> tuple[int, int]:
    """``(width, height)`` upright, from the header alone.

    Raises:
        PictureError: it is no picture that sanakit reads.
    """
    picture = _open(file)
    width, height = picture.size
    return (height, width) if _orientation(picture) in _SIDEWAYS else (width, height)


def decode_picture(content: bytes) -> Image.Image:
    """Upright sRGB, transparency over white, 16 bits scaled to 8, the first frame of several.

    Colours of another profile inside the file, or that it names, are converted; a damaged profile does not count.

    Raises:
        PictureError: it is no picture, a damaged one, or one of HDR.
    """
    return upright_rgb(open_picture(content))


def open_picture(content: bytes) -> Image.Image:
    """As Pillow has it, with the profile that it names; errors as of `decode_picture`."""
    picture = _open(io.BytesIO(content))
    add_named_profile(picture, content)
    return picture


def upright_rgb(picture: Image.Image) -> Image.Image:
    """What `decode_picture` gives, of a file that Pillow has opened; errors as there."""
    return _upright(picture, _in_rgb)


def upright_alpha(picture: Image.Image) -> Image.Image | None:
    """How much is seen of each pixel, as gray from 0 to 255; None where the file speaks of no transparency."""
    return _upright(picture, lambda each: each.convert("RGBA").getchannel("A")) if _is_see_through(picture) else None


def _is_see_through(picture: Image.Image) -> bool:
    return picture.has_transparency_data and picture.mode not in _SIXTEEN_BIT


def _upright(picture: Image.Image, read: Callable[[Image.Image], Image.Image]) -> Image.Image:
    orientation = _orientation(picture)
    try:
        picture.load()
        image = read(picture)
        return image if orientation == 1 else image.transpose(_TURNS[orientation])
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        raise too_large(error) from None
    except Exception as error:  # Pillow's decoders raise a dozen kinds on damaged files
        raise PictureError(f"the picture is damaged: {reason_of(error)}") from error


def stored_upright(content: bytes) -> str | None:
    """``png``, ``jpg`` or ``webp`` if the file is one whose pixels lie upright in sRGB, so that any reader sees them
    right."""
    picture = open_picture(content)
    # Phones write JPEG files with a second picture, which Pillow calls MPO.
    suffix = {"PNG": "png", "JPEG": "jpg", "MPO": "jpg", "WEBP": "webp"}.get(picture.format or "")
    plain = _orientation(picture) == 1 and picture.mode not in _SIXTEEN_BIT and is_srgb(picture)
    return suffix if suffix and plain else None


def as_png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _open(file: BinaryIO) -> Image.Image:
    start = file.read(1)
    if not start:
        raise PictureError("the file is empty")
    file.seek(0)
    try:
        return open_within_limit(file, _FORMATS)
    except PictureError:
        raise
    except UnidentifiedImageError as error:
        if _is_heic(file):
            raise PictureError("it is HEIC, as phones write it, which is not read; save it as JPEG or PNG") from error
        if _is_clip(file):
            raise PictureError("it is a clip, where a picture is wanted; save one of its frames as PNG") from error
        raise PictureError("the file is no picture, or of a kind that cannot be read (PNG, JPEG, WebP can)") from error
    except Exception as error:  # a damaged header
        raise PictureError(f"the header of the picture is damaged: {reason_of(error)}") from error


def _is_heic(file: BinaryIO) -> bool:
    file.seek(0)
    start = file.read(12)
    return start[4:8] == b"ftyp" and start[8:] in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")


def _is_clip(file: BinaryIO) -> bool:
    """Of the containers that most clips are in."""
    file.seek(0)
    start = file.read(12)
    is_mp4 = start[4:8] == b"ftyp" and start[8:11] != b"avi"  # which is AVIF's
    return is_mp4 or start[:4] == b"\x1aE\xdf\xa3" or (start[:4], start[8:]) == (b"RIFF", b"AVI ")


def _orientation(picture: Image.Image) -> int:
    """EXIF's, 1 to 8. Pillow turns TIFF itself; of PNG it would decode the whole file to look behind the pixels."""
    if picture.format == "TIFF":
        return 1
    if picture.format == "PNG" and not {"exif", "Raw profile type exif"} & picture.info.keys():
        return 1
    try:
        value = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged EXIF says nothing about the pixels
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _in_rgb(picture: Image.Image) -> Image.Image:
    """Without the metadata of the file."""
    if picture.mode in _SIXTEEN_BIT or picture.mode == "I":
        picture = _eight_bit(picture)
    if picture.mode == "F":
        raise PictureError("the picture holds floating-point numbers, whose range nobody knows")
    picture = in_srgb(picture)
    if picture.has_transparency_data:
        visible = picture.convert("RGBA")
        white = Image.new("RGBA", visible.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, visible).convert("RGB")
    plain = Image.new("RGB", picture.size)
    plain.paste(picture.convert("RGB"))
    return plain


def _eight_bit(picture: Image.Image) -> Image.Image:
    """Pillow would clip at 255 instead of scaling. A TIFF of 32 bits says not what is white: 255 if nothing is more,
    else 65535."""
    values = np.asarray(picture).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise PictureError("the picture holds 32-bit numbers, whose range nobody knows; save it with 8 or 16 bits")
    is_eight_bit = picture.mode == "I" and picture.format == "TIFF" and values.max() <= 255
    levels = Image.fromarray((values if is_eight_bit else (values + 128) // 257).astype(np.uint8))
    levels.info = picture.info
    return levels


def reason_of(error: Exception) -> str:
    """What it says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
