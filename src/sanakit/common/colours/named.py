"""Colours that a file only names, without a profile: EXIF of cameras set to Adobe RGB, cICP of PNG, nclx of AVIF."""

from __future__ import annotations

import re
import struct
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sanakit.common.errors import PictureError

Values = NDArray[np.float64]

_INTEROP, _EXIF, _COLOUR_SPACE = 0xA005, 0x8769, 0xA001  # of EXIF
_ADOBE_RGB = "R03"  # as DCF 2.0 names it in EXIF's interoperability index
_HEAD = 1 << 16  # bytes in which a file names its colours
_CICP = re.compile(rb"\x00\x00\x00\x04cICP(.)(.)\x00", re.DOTALL)
_NCLX = re.compile(rb"colrnclx\x00(.)\x00(.)", re.DOTALL)
# ITU-T H.273: primaries by number, x and y of red, green and blue, of which 1 is sRGB; curves by number.
_PRIMARIES = {9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)), 12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))}
_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0}
_HDR = (16, 18)  # PQ and HLG
_OF_ADOBE = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
_WHITE, _PROFILE_WHITE = (0.3127, 0.3290), np.array([0.9642, 1.0, 0.8249])  # D65 as x and y; D50 as X, Y, Z
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])

Primaries = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]


def add_named_profile(picture: Image.Image, content: bytes) -> None:
    """Give a picture the profile that its file names: cICP counts before a profile inside, the others without one.

    Args:
        content: the file.

    Raises:
        PictureError: its values are of HDR, and taken as others they would look pale.
    """
    named = {"PNG": _CICP, "AVIF": _NCLX}.get(picture.format or "")
    found = named.search(content[:_HEAD]) if named is not None else None
    if found is not None and (named is _CICP or not picture.info.get("icc_profile")):
        primaries, curve = found[1][0], found[2][0]
        if curve in _HDR:
            raise PictureError("its colours are of HDR (PQ or HLG), which is not read; save it in sRGB")
        if primaries in _PRIMARIES:
            picture.info["icc_profile"] = _profile(_PRIMARIES[primaries], _GAMMAS.get(curve))
        elif primaries == 1:
            picture.info.pop("icc_profile", None)
    elif not picture.info.get("icc_profile") and _is_adobe_rgb(picture):
        picture.info["icc_profile"] = _profile(_OF_ADOBE, 563 / 256)


def _is_adobe_rgb(picture: Image.Image) -> bool:
    """By EXIF; 2 as colour space is what some cameras write for it."""
    try:
        exif = picture.getexif() if "exif" in picture.info or picture.format == "TIFF" else Image.Exif()
        space = exif.get_ifd(_EXIF).get(_COLOUR_SPACE) if exif else None
        return space == 2 or (space == 0xFFFF and str(exif.get_ifd(_INTEROP).get(1)).startswith(_ADOBE_RGB))
    except Exception:  # damaged EXIF says nothing about the pixels
        return False


@cache
def _profile(primaries: Primaries, gamma: float | None) -> bytes:
    """A profile of matrix and curve by the ICC's specification (version 2.1); without ``gamma`` the curve of sRGB."""
    values = np.linspace(0.0, 1.0, 1024)
    levels = (_linear(values) if gamma is None else values**gamma) * 65535
    curve = b"curv" + bytes(4) + struct.pack(">I", len(levels)) + levels.round().astype(">u2").tobytes()
    parts = [(b"wtpt", _place(_PROFILE_WHITE))]
    parts += [
        (letter + b"XYZ", _place(row)) for letter, row in zip((b"r", b"g", b"b"), _adapted(primaries), strict=True)
    ]
    parts += [(letter + b"TRC", curve) for letter in (b"r", b"g", b"b")]
    start, table, content = 132 + 12 * len(parts), b"", b""
    for name, value in parts:
        table += name + struct.pack(">II", start + len(content), len(value))
        content += value
    head = struct.pack(">4xI4s4s4s12x4s", 0x02100000, b"mntr", b"RGB ", b"XYZ ", b"acsp").ljust(64, b"\0")
    body = (head + _place(_PROFILE_WHITE)[8:]).ljust(124, b"\0") + struct.pack(">I", len(parts)) + table + content
    return struct.pack(">I", len(body) + 4) + body


def _linear(values: Values) -> Values:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _place(xyz: Values) -> bytes:
    return b"XYZ " + bytes(4) + (xyz * 65536).round().astype(">i4").tobytes()


def _adapted(primaries: Primaries) -> Values:
    """X, Y, Z of red, green and blue in rows, of which the sum is white, adapted from D65 to the profiles' D50."""
    *colours, white = (np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in (*primaries, _WHITE))
    columns = np.stack(colours, axis=1)
    columns = columns * np.linalg.solve(columns, white)
    cones = np.diag((_BRADFORD @ _PROFILE_WHITE) / (_BRADFORD @ white))
    found: Values = (np.linalg.inv(_BRADFORD) @ cones @ _BRADFORD @ columns).T
    return found
