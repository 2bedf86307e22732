"""Pictures and clips by the names of their files: what their headers say, and the picture that stands for each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from sanakit.common.errors import PictureError
from sanakit.common.paths import is_clip
from sanakit.data.clips import clip_facts, first_frame
from sanakit.data.films.animations import is_animation
from sanakit.data.pictures import decode_picture, picture_size
from sanakit.data.samples import ClipFacts
from sanakit.data.sources.blobs import Blob, read_blob

Facts = tuple[tuple[int, int], ClipFacts | None]
"""``(width, height)`` in pixels, upright, and what a clip has beside."""


def medium_facts(blob: Blob) -> Facts:
    """From the header; of a clip from its first frame, too.

    Raises:
        PictureError: it is neither, or damaged there.
        OSError: the file cannot be read.
    """
    with blob.open() as file:
        moves = is_clip(Path(blob.name)) or is_animation(file)
        return clip_facts(file) if moves else (picture_size(file), None)


def read_picture(blob: Blob) -> Image.Image:
    """A picture upright in RGB, or the first frame of a clip.

    Raises:
        PictureError: it cannot be decoded.
    """
    if not is_clip(Path(blob.name)):
        return decode_picture(read_blob(blob))
    with opened(blob) as file:
        return first_frame(file)


@contextmanager
def opened(blob: Blob) -> Iterator[BinaryIO]:
    """Raises PictureError where the file cannot be read."""
    try:
        with blob.open() as file:
            yield file
    except OSError as error:
        raise PictureError(f"{blob.name} cannot be read: {error.strerror or error}") from error
