"""Pictures on disk with their record inside: text chunks in PNG, EXIF in JPEG and WebP."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Literal

from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError

from sanakit.common.errors import OutputError, PictureError
from sanakit.common.files import write_whole
from sanakit.pipelines.record import PictureRecord

PictureFormat = Literal["png", "jpeg", "webp"]

A1111_CHUNK = "parameters"
OUR_CHUNK = "sanakit"
_QUALITY = 95
_MAX_EXIF_BYTES = 65000  # of a JPEG segment, whose length is 16 bits


def write_image(
    path: str | Path, image: Image.Image, record: PictureRecord | None = None, picture_format: PictureFormat = "png"
) -> None:
    """Write a picture, whole or not at all; with its record inside unless that is ``None``.

    Raises:
        OutputError: the disk is full, the place cannot be written, or the record does not fit into the format.
    """
    path = Path(path)
    if path.is_dir():
        raise OutputError(f"{path} is a folder; name a file in it to write a picture to")
    write_whole(path, _encode(image.convert("RGB"), record, picture_format))


def read_record(path: str | Path) -> PictureRecord:
    """The record inside a picture that sanakit wrote.

    Raises:
        PictureError: no such file, not a picture, or a picture without a record of ours.
    """
    with open_picture(path) as picture:
        text = picture.info.get(OUR_CHUNK) or picture.getexif().get(ExifTags.Base.ImageDescription)
    if not isinstance(text, str) or not text.startswith("{"):
        raise PictureError(
            f"{path} holds no record of sanakit; only pictures that it wrote with their metadata have one"
        )
    return PictureRecord.from_json(text)


def open_picture(path: str | Path) -> Image.Image:
    """A picture file, read and checked to its end.

    Raises:
        PictureError: it cannot be read.
    """
    try:
        picture = Image.open(path)
        picture.load()
    except UnidentifiedImageError:
        raise PictureError(f"{path} is not a picture that can be read; give a PNG, JPEG or WebP file") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PictureError(f"{path} could not be read as a picture ({reason})") from None
    return picture


def _encode(image: Image.Image, record: PictureRecord | None, picture_format: PictureFormat) -> bytes:
    buffer = io.BytesIO()
    match picture_format:
        case "png":
            image.save(buffer, "png", pnginfo=_png_text(record))
        case "jpeg":
            image.save(buffer, "jpeg", quality=_QUALITY, subsampling=0, exif=_exif(record))
        case "webp":
            image.save(buffer, "webp", quality=_QUALITY, exif=_exif(record))
    return buffer.getvalue()


def _png_text(record: PictureRecord | None) -> PngImagePlugin.PngInfo:
    chunks = PngImagePlugin.PngInfo()
    if record is not None:
        # A zero byte would end the text early in every reader.
        chunks.add_text(A1111_CHUNK, record.to_a1111().replace("\0", ""))
        chunks.add_text(OUR_CHUNK, record.to_json())
    return chunks


def _exif(record: PictureRecord | None) -> bytes:
    """EXIF with the A1111 text as the user comment, where galleries look, and our JSON as the description.

    A record too long for both keeps ours, which can be replayed.
    """
    if record is None:
        return b""
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = record.to_json()
    exif[ExifTags.Base.Software] = f"sanakit {record.versions.get('sanakit', '')}"
    comment = b"UNICODE\0" + record.to_a1111().encode("utf-16-be")
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
    if len(exif.tobytes()) > _MAX_EXIF_BYTES:
        del exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment]
    if len(exif.tobytes()) > _MAX_EXIF_BYTES:
        raise OutputError(
            f"the record takes {len(exif.tobytes())} bytes and EXIF holds {_MAX_EXIF_BYTES}; "
            f"write a PNG, or leave the metadata out"
        )
    return exif.tobytes()
