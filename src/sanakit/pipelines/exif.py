"""EXIF as bytes, with every value under the type that readers look for."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from PIL import ExifTags, Image

MAX_EXIF_BYTES = 65000  # of a JPEG segment, whose length is 16 bits
_BYTE, _UNDEFINED = 1, 7  # types of values; both take one byte for each
_START = len(b"Exif\0\0")  # places in EXIF are counted from here
_GPS_UNDEFINED = frozenset({ExifTags.GPS.GPSProcessingMethod, ExifTags.GPS.GPSAreaInformation})


def exif_bytes(exif: Image.Exif) -> bytes:
    """What Pillow writes, with ``UserComment``, ``MakerNote``, ``ExifVersion`` and their like as UNDEFINED.

    Pillow writes bytes as BYTE, which piexif, exiftool and others do not take for a text or a version.

    Source: Exif 3.0, tables 8 and 15: the Exif directory has no value of type BYTE, the one of GPS has two.
    """
    content = bytearray(exif.tobytes())
    order = ">" if content[_START : _START + 2] == b"MM" else "<"
    for tag, place in _entries(content, order, *struct.unpack_from(order + "I", content, _START + 4)):
        if tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            for inner, inner_place in _entries(content, order, *struct.unpack_from(order + "I", content, place + 8)):
                is_byte = struct.unpack_from(order + "H", content, inner_place + 2) == (_BYTE,)
                if is_byte and (tag == ExifTags.IFD.Exif or inner in _GPS_UNDEFINED):
                    struct.pack_into(order + "H", content, inner_place + 2, _UNDEFINED)
    return bytes(content)


def _entries(content: bytearray, order: str, offset: int) -> Iterator[tuple[int, int]]:
    """Tag and place of each entry of a directory: tag, type, count and value, in 12 bytes."""
    (number,) = struct.unpack_from(order + "H", content, _START + offset)
    for index in range(number):
        place = _START + offset + 2 + 12 * index
        (tag,) = struct.unpack_from(order + "H", content, place)
        yield tag, place
