"""How large a picture file may be: Pillow's limit, told as one, and raised where a person says so."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import IO

from PIL import Image, UnidentifiedImageError

from sanakit.common.errors import PictureError, RequestError

_MOST = 2**31 - 1  # pixels; Pillow counts the bytes of a row and libraries those of a picture in 31 bits
_PROGRAMS = frozenset({"EPS"})  # Pillow hands them to Ghostscript
UNLESS_ALLOWED = "are not read unless --max-pixels allows it"
_NUMBER = re.compile(r"\((\d+) pixels\)")


class PictureTooLargeError(PictureError):
    """A whole picture of more pixels than are read."""


def open_within_limit(file: str | Path | IO[bytes], formats: tuple[str, ...] | None = None) -> Image.Image:
    """``Image.open``, from whose errors a too large picture is told apart; without its warning of rather large ones.

    Raises:
        PictureTooLargeError: it has more pixels than twice ``Image.MAX_IMAGE_PIXELS``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            picture = Image.open(file, formats=formats)
        except Image.DecompressionBombError as error:
            raise too_large(error) from None
    if picture.format in _PROGRAMS:
        raise UnidentifiedImageError(f"{picture.format} files are programs, which are not run")
    return picture


def too_large(error: Image.DecompressionBombError) -> PictureTooLargeError:
    """Pillow's suspicion as a limit, with the way to raise it."""
    found = _NUMBER.search(str(error))
    size = f"{int(found[1]) / 1e6:.0f} megapixels" if found else "too many pixels"
    most = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
    return PictureTooLargeError(f"the picture has {size}; more than {most:.0f} {UNLESS_ALLOWED}")


def raise_limit(words: str) -> None:
    """Let pictures of that many pixels be read, in this process; ``words`` as after ``--max-pixels``.

    Raises:
        RequestError: no whole number of pixels that can be read.
    """
    if not words.isascii() or not words.isdecimal() or not 1 <= int(words) <= _MOST:
        raise RequestError(f"--max-pixels {words} is not usable; it must be a whole number of pixels, up to {_MOST}")
    Image.MAX_IMAGE_PIXELS = (int(words) + 1) // 2  # Pillow refuses what has more than twice as many
