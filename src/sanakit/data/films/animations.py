"""Clips that are GIF or WebP, through Pillow: upright RGB frames with their times."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageSequence

from sanakit.common.errors import PictureError
from sanakit.common.picture_limits import open_within_limit
from sanakit.data.films.containers import Timed
from sanakit.data.pictures import upright_rgb
from sanakit.data.samples import ClipFacts

_FORMATS = ("GIF", "WEBP")
_GIF = (b"GIF87a", b"GIF89a")
_MOVES = 2  # the bit of a WebP's flags (RFC 9649, section 2.7.1)
_DAMAGED = (OSError, ValueError, EOFError, SyntaxError)  # what Pillow raises
_UNSAID = 100  # milliseconds of a frame that does not say its own, as browsers show it


def may_be_animation(file: BinaryIO) -> bool:
    """Whether it is a GIF or a WebP, of one picture or several, by its first bytes."""
    start = _first_bytes(file)
    return start.startswith(_GIF) or (start[:4], start[8:12]) == (b"RIFF", b"WEBP")


def is_animation(file: BinaryIO) -> bool:
    """Whether it is one of several pictures, by the second one of a GIF; one that is damaged there is none."""
    start = _first_bytes(file)
    if not start.startswith(_GIF):
        return may_be_animation(file) and start[12:16] == b"VP8X" and bool(start[20] & _MOVES)
    try:
        _open(file).seek(1)
        return True
    except (PictureError, *_DAMAGED):
        return False
    finally:
        file.seek(0)


def facts_of_animation(file: BinaryIO) -> tuple[tuple[int, int], ClipFacts]:
    """``(width, height)``, and the rest by the times of all frames, which may differ; PictureError as below."""
    times = [(frame.shape, until) for frame, _, until in frames_of_animation(file)]
    (height, width, _), seconds = times[0][0], times[-1][1]
    return (width, height), ClipFacts(num_frames=len(times), fps=round(len(times) / seconds, 6))


def frames_of_animation(file: BinaryIO) -> Iterator[Timed]:
    """All of them, over white where they are transparent.

    Raises:
        PictureError: the file is damaged.
    """
    begin = 0.0
    try:
        for frame in ImageSequence.Iterator(_open(file)):
            pixels = np.asarray(upright_rgb(frame))
            until = begin + (frame.info.get("duration") or _UNSAID) / 1000  # which it says once it is decoded
            yield pixels, begin, until
            begin = until
    except _DAMAGED as error:
        raise PictureError(f"the animation is damaged ({error})") from error


def _first_bytes(file: BinaryIO) -> bytes:
    start = file.read(21)
    file.seek(0)
    return start.ljust(21, b"\0")


def _open(file: BinaryIO) -> Image.Image:
    try:
        return open_within_limit(file, _FORMATS)
    except _DAMAGED as error:
        raise PictureError(f"the animation cannot be read ({error})") from error
