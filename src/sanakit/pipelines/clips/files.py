"""Clips on disk read again: their record, and their frames as their format holds them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import repeat
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from sanakit.common.errors import PictureError, RequestError
from sanakit.common.paths import as_path
from sanakit.data.films.containers import opened_clip
from sanakit.pipelines.record import PictureRecord

RECORD = "record.json"  # of a folder of PNGs
STILLS = frozenset({".gif", ".webp"})  # that are read as pictures, not by PyAV
_UNREADABLE = (OSError, ValueError, EOFError, SyntaxError, Image.DecompressionBombError)  # what Pillow and PyAV raise
Frame = NDArray[np.uint8]
"""``(H, W, 3)`` RGB."""


def need_av() -> Any:
    """PyAV.

    Raises:
        RequestError: it is not installed.
    """
    try:
        import av
    except ImportError:
        raise RequestError(
            "PyAV, which writes and reads MP4 and WebM, is not installed; run pip install 'sanakit[video]', or write a "
            "GIF, an animated WebP or a folder of PNGs (--format gif, webp, png)"
        ) from None
    return av


def beside(path: Path) -> Path:
    """Where the record of a clip is, beside its file."""
    return path.with_name(f"{path.name}.json")


def read_clip_record(path: str | Path) -> PictureRecord | None:
    """The record in a clip: in its metadata, else beside it; None for a file that is no clip.

    Raises:
        PictureError: it is a clip without a record of ours, or cannot be read.
    """
    path = as_path(path)
    if path.is_dir() and (path / RECORD).is_file():
        return PictureRecord.from_json((path / RECORD).read_text())
    reader = _READERS.get(path.suffix.lower())
    if reader is None or not path.is_file():
        return None
    text = reader(path)
    if text is None and beside(path).is_file():
        text = beside(path).read_text()
    if text is None:
        raise PictureError(f"{path} holds no record of sanakit, and there is none beside it as {beside(path).name}")
    return PictureRecord.from_json(text)


def video_head(file: Path | BinaryIO) -> tuple[tuple[int, int], str | None]:
    """Width and height of an MP4 or WebM, and the record in its comment.

    Raises:
        PictureError: it cannot be read.
    """
    with _opened(file) as (container, stream):
        told = {name.lower(): value for name, value in container.metadata.items()}
        return (stream.width, stream.height), record_in(told.get("comment"))


def record_in(comment: str | bytes | None) -> str | None:
    """The record in a comment; None where others have written something there."""
    text = comment.decode("ascii", "replace") if isinstance(comment, bytes) else comment
    return text if text and text.startswith("{") else None


@contextmanager
def _opened(file: Path | BinaryIO) -> Iterator[tuple[Any, Any]]:
    try:
        with file.open("rb") if isinstance(file, Path) else nullcontext(file) as content, opened_clip(content) as found:
            yield found
    except (PictureError, OSError) as error:
        what = file if isinstance(file, Path) else "it"
        raise PictureError(
            f"{what} could not be read as a clip: {getattr(error, 'strerror', None) or error}"
        ) from error


def _video_record(path: Path) -> str | None:
    return video_head(path)[1]


def _gif_record(path: Path) -> str | None:
    try:
        with Image.open(path) as image:
            return record_in(image.info.get("comment"))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise PictureError(f"{path} could not be read as a clip ({error})") from error


_READERS: dict[str, Callable[[Path], str | None]] = {".mp4": _video_record, ".webm": _video_record, ".gif": _gif_record}


def read_frames(path: str | Path, fps: int | None = None) -> Iterator[Frame]:
    """The frames of a clip as its format holds them.

    Args:
        fps: of a clip that was written here. GIF and WebP of early versions hold equal frames that follow each other as
            one that is shown longer; with it, it comes as often as it was written.

    Raises:
        PictureError: it cannot be read.
    """
    path = as_path(path)
    try:
        if path.is_dir():
            yield from (np.asarray(Image.open(file).convert("RGB")) for file in sorted(path.glob("*.png")))
        elif path.suffix.lower() in STILLS:
            with Image.open(path) as image:
                for frame in ImageSequence.Iterator(image):
                    yield from repeat(np.asarray(frame.convert("RGB")), _times(frame, fps))
        else:
            with _opened(path) as (container, stream):
                yield from (frame.to_ndarray(format="rgb24") for frame in container.decode(stream))
    except _UNREADABLE as error:
        raise PictureError(f"{path} could not be read as a clip ({error})") from error


def _times(frame: Image.Image, fps: int | None) -> int:
    """How many frames one that was read is; a GIF has rounded its time down to hundredths of a second."""
    shown = frame.info.get("duration", 0)  # once it is decoded
    return 1 if fps is None else max(math.ceil(shown / milliseconds(fps)), 1)


def milliseconds(fps: int) -> int:
    """For which a frame is shown."""
    return max(round(1000 / fps), 10)  # the least that a GIF knows
