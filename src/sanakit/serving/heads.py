"""What a file of the gallery is, by its head: a picture or a clip, its size, its record; and small views of it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from sanakit.common.errors import PictureError
from sanakit.common.picture_limits import open_within_limit
from sanakit.common.pixels import evenly
from sanakit.pipelines.clips.files import read_frames, record_in, video_head
from sanakit.pipelines.picture_file import record_text

_FORMATS = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp", "GIF": "gif"}  # endings by what Pillow calls a file
VIDEOS = (".mp4", ".webm")
ENDINGS = frozenset((".png", ".jpg", ".jpeg", ".webp", ".gif", *VIDEOS))


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """``size`` is width and height, ``record`` the JSON of a record, not checked; empty where there is none."""

    ending: str
    size: tuple[int, int]
    record: str


def head_of(file: Path | bytes) -> Head:
    """Of a file, or of its content.

    Raises:
        PictureError: it is no picture and no clip that a page shows.
    """
    content = file if isinstance(file, bytes) else _first_bytes(file)
    ending = "mp4" if content[4:8] == b"ftyp" else "webm" if content[:4] == b"\x1aE\xdf\xa3" else ""
    opened = io.BytesIO(file) if isinstance(file, bytes) else file
    if ending:
        size, record = video_head(opened)
        return Head(ending=ending, size=size, record=record or "")
    try:
        with open_within_limit(opened, tuple(_FORMATS)) as picture:
            comment = record_in(picture.info.get("comment")) if picture.format == "GIF" else None
            record = record_text(picture) or comment or ""
            return Head(ending=_FORMATS[str(picture.format)], size=picture.size, record=record)
    except (OSError, ValueError, SyntaxError) as error:
        raise PictureError(f"it cannot be read as a picture or a clip ({error})") from None


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)


def first_frame(path: Path) -> Image.Image:
    """A picture, or the first one of a clip.

    Raises:
        PictureError: it cannot be read.
    """
    if path.suffix.lower() in VIDEOS:
        frame = next(read_frames(path), None)
        if frame is None:
            raise PictureError(f"{path.name} holds no frames")
        return Image.fromarray(frame)
    try:
        with open_within_limit(path) as picture:
            return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise PictureError(f"{path.name} cannot be read ({error})") from None


def film_strip(path: Path, num_frames: int, most: int, height: int) -> Image.Image:
    """Up to ``most`` frames of a clip beside each other, evenly from the first to the last, so high."""
    wanted = set(evenly(num_frames, most))
    shown = [
        Image.fromarray(frame).resize((max(round(height * frame.shape[1] / frame.shape[0]), 1), height))
        for index, frame in enumerate(islice(read_frames(path), num_frames))
        if index in wanted
    ]
    if not shown:
        raise PictureError(f"{path.name} holds no frames")
    return Image.fromarray(np.concatenate([np.asarray(frame) for frame in shown], axis=1))
