"""Pictures on disk with their record inside: text chunks in PNG, EXIF in JPEG and WebP."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError

from sanakit.common.errors import OutputError, PictureError, SanakitError
from sanakit.common.files import write_new, write_whole
from sanakit.common.paths import as_path
from sanakit.common.picture_limits import PictureTooLargeError, open_within_limit
from sanakit.pipelines.exif import MAX_EXIF_BYTES, exif_bytes
from sanakit.pipelines.record import PictureRecord

PictureFormat = Literal["png", "jpeg", "webp"]

A1111_CHUNK = "parameters"
OUR_CHUNK = "sanakit"
_QUALITY = 95
_LONGEST: dict[PictureFormat, int] = {"png": 2**31 - 1, "jpeg": 65535, "webp": 16383}  # px a side
_MODES: dict[PictureFormat, tuple[str, ...]] = {
    "png": ("RGB", "RGBA", "L", "LA", "I;16"),
    "jpeg": ("RGB", "L"),
    "webp": ("RGB", "RGBA", "L", "LA"),
}
_ONE_PICTURE = frozenset({"MPO"})  # a JPEG with further, smaller pictures behind the one that is meant


@dataclass(frozen=True, kw_only=True, slots=True)
class Carried:
    """What a picture file holds beside pixels and our record: colour profile, EXIF, the texts of a PNG by keyword.

    Where there is a record, EXIF is the record's place, and this ``exif`` is left out.
    """

    profile: bytes | None = None
    exif: bytes = b""
    texts: Mapping[str, str] = field(default_factory=dict)


NOTHING_CARRIED = Carried()


def write_image(
    path: str | Path,
    image: Image.Image,
    record: PictureRecord | None = None,
    picture_format: PictureFormat = "png",
    *,
    carried: Carried = NOTHING_CARRIED,
    new: bool = False,
) -> Path:
    """Write a picture, whole or not at all, and give its path; with its record inside unless that is ``None``.

    PNG keeps gray, alpha and 16 bits of gray, WebP keeps alpha, JPEG is RGB or gray.

    Args:
        new: replace nothing: where there is such a file already, also one that another process has just written, the
            name gets a number.

    Raises:
        OutputError: the disk is full, the place cannot be written, or picture or record do not fit into the format.
    """
    path = as_path(path)
    if path.is_dir():
        raise OutputError(f"{path} is a folder; name a file in it to write a picture to")
    check_format(image, picture_format)
    content = encode_image(image, record, picture_format, carried=carried)
    if new:
        return write_new(path, lambda building: building.write_bytes(content))
    write_whole(path, content)
    return path


def check_format(image: Image.Image, picture_format: PictureFormat, scale: int = 1) -> None:
    """Raises ``OutputError`` unless ``picture_format`` holds a picture like ``image``, ``scale`` times as large."""
    most = _LONGEST[picture_format]
    if (side := scale * max(image.size)) > most:
        raise OutputError(
            f"a {picture_format} file has sides of up to {most} px, and this would be {side}; write a PNG"
        )
    if image.mode not in _MODES[picture_format]:
        what = "16 bits" if image.mode.startswith("I") else "transparency"
        raise OutputError(f"a {picture_format} file does not hold {what}; write a PNG")


def read_record(path: str | Path) -> PictureRecord:
    """The record inside a picture that sanakit wrote.

    Raises:
        PictureError: no such file, not a picture, or a picture without a record of ours.
    """
    with open_picture(path) as picture:
        text = record_text(picture)
    if text is None:
        raise PictureError(
            f"{path} holds no record of sanakit; only pictures that it wrote with their metadata have one"
        )
    return PictureRecord.from_json(text)


def record_text(picture: Image.Image) -> str | None:
    """The JSON of the record inside, not checked, which needs no pixels; None where there is none."""
    text = picture.info.get(OUR_CHUNK) or picture.getexif().get(ExifTags.Base.ImageDescription)
    return text if isinstance(text, str) and text.startswith("{") else None


def open_picture(path: str | Path, *, check: Callable[[tuple[int, int]], None] | None = None) -> Image.Image:
    """A picture file, read and checked to its end.

    Args:
        check: told width and height before the pixels are read; what it raises comes out.

    Raises:
        PictureError: there is no file, or it cannot be read.
    """
    path = as_path(path)
    if not path.is_file():  # a pipe would wait for its writer
        raise PictureError(f"{path} does not exist or is no file; give a picture")
    try:
        picture = open_within_limit(path)
        if check is not None:
            check(picture.size)
        picture.load()
    except PictureTooLargeError as error:
        raise PictureError(f"{path}: {error}") from None
    except (SanakitError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise PictureError(f"{path} is not a picture that can be read; give a PNG, JPEG or WebP file") from None
    except Exception as error:  # Pillow's decoders raise a dozen kinds on damaged files
        raise _damaged(path, error) from None
    return picture


def open_single_picture(path: str | Path, *, check: Callable[[tuple[int, int]], None] | None = None) -> Image.Image:
    """`open_picture` of a file that holds one picture.

    Raises:
        PictureError: there is no file, it cannot be read, or it is an animation.
    """
    picture = open_picture(path, check=check)
    try:
        frames = getattr(picture, "n_frames", 1)  # of a GIF it reads to the end
    except Exception as error:
        raise _damaged(path, error) from None
    if frames > 1 and picture.format not in _ONE_PICTURE:
        raise PictureError(f"{path} holds {frames} pictures, such as those of an animation; give a file of one")
    return picture


def as_stored(image: Image.Image, picture_format: str | None) -> Image.Image:
    """What a reader finds of a picture that was written as "PNG", "JPEG" or "WEBP", as Pillow calls it."""
    name = str(picture_format).lower()
    if name not in ("jpeg", "webp"):
        return image
    return Image.open(io.BytesIO(encode_image(image, None, name)))  # type: ignore[arg-type]


def _damaged(path: str | Path, error: Exception) -> PictureError:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return PictureError(f"{path} could not be read as a picture ({reason})")


def encode_image(
    image: Image.Image,
    record: PictureRecord | None,
    picture_format: PictureFormat,
    *,
    quality: int = _QUALITY,
    carried: Carried = NOTHING_CARRIED,
) -> bytes:
    """The bytes of the file that `write_image` writes.

    Args:
        quality: of JPEG and WebP, from 0 to 100.

    Raises:
        OutputError: the record does not fit into the format.
    """
    buffer = io.BytesIO()
    profile = {"icc_profile": carried.profile}
    match picture_format:
        case "png":
            image.save(buffer, "png", pnginfo=_png_text(record, carried.texts), exif=carried.exif or None, **profile)
        case "jpeg":
            image.save(buffer, "jpeg", quality=quality, subsampling=0, exif=_exif(record, carried), **profile)
        case "webp":
            image.save(buffer, "webp", quality=quality, exif=_exif(record, carried), **profile)
    return buffer.getvalue()


def _png_text(record: PictureRecord | None, texts: Mapping[str, str]) -> PngImagePlugin.PngInfo:
    chunks = PngImagePlugin.PngInfo()
    for keyword, text in texts.items():
        international = isinstance(text, PngImagePlugin.iTXt)  # which XMP is; ComfyUI reads its graph from tEXt alone
        (chunks.add_itxt if international else chunks.add_text)(keyword, text.replace("\0", ""))
    if record is not None:
        # A zero byte would end the text early in every reader.
        chunks.add_text(A1111_CHUNK, record.to_a1111().replace("\0", ""))
        chunks.add_text(OUR_CHUNK, record.to_json())
    return chunks


def record_exif(record: PictureRecord) -> bytes:
    """A record as EXIF alone."""
    return _exif(record, NOTHING_CARRIED)


def _exif(record: PictureRecord | None, carried: Carried) -> bytes:
    """EXIF with the A1111 text as the user comment, where galleries look, and our JSON as the description.

    A record too long for both keeps ours, which can be replayed.
    """
    if record is None:
        return carried.exif
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = record.to_json()
    exif[ExifTags.Base.Software] = f"sanakit {record.versions.get('sanakit', '')}"
    comment = b"UNICODE\0" + record.to_a1111().encode("utf-16-be")
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
    if len(exif.tobytes()) > MAX_EXIF_BYTES:
        del exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment]
    content = exif_bytes(exif)
    if len(content) > MAX_EXIF_BYTES:
        raise OutputError(
            f"the record takes {len(content)} bytes and EXIF holds {MAX_EXIF_BYTES}; "
            f"write a PNG, or leave the metadata out"
        )
    return content
