"""Clips on disk with their record: MP4 and WebM through PyAV, GIF and animated WebP, or a folder of PNGs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from sanakit.common.errors import OutputError, PictureError, RequestError
from sanakit.common.files import write_json, written_aside
from sanakit.common.paths import as_path
from sanakit.pipelines.picture_file import record_exif
from sanakit.pipelines.record import PictureRecord

_CODECS = {"mp4": ("libx264", "yuv420p"), "webm": ("libvpx-vp9", "yuv420p")}
_RECORD = "record.json"  # of a folder of PNGs
_STILLS = (".gif", ".webp")
_WEBP_QUALITY = 90
Frames = NDArray[np.uint8]
"""``(T, H, W, 3)`` RGB."""


def write_clip(path: Path, frames: Frames, fps: int, clip_format: str, record: PictureRecord | None) -> None:
    """One file of a clip.

    Raises:
        RequestError: PyAV is not installed.
        OutputError: the encoder refuses it.
    """
    if clip_format in _CODECS:
        _write_video(path, frames, fps, clip_format, record)
        return
    pictures = [Image.fromarray(frame) for frame in frames]
    told: dict[str, Any] = {}
    if record is not None:
        told = {"comment": record.to_json().encode()} if clip_format == "gif" else {"exif": record_exif(record)}
    if clip_format == "webp":
        told |= {"quality": _WEBP_QUALITY}
    pictures[0].save(
        path, clip_format, save_all=True, append_images=pictures[1:], duration=_milliseconds(fps), loop=0, **told
    )


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


def _write_video(path: Path, frames: Frames, fps: int, clip_format: str, record: PictureRecord | None) -> None:
    av = need_av()
    codec, layout = _CODECS[clip_format]
    height, width = (side - side % 2 for side in frames.shape[1:3])  # chroma of half the size has no odd sides
    options = {"movflags": "use_metadata_tags"} if clip_format == "mp4" else {}
    try:
        with av.open(str(path), "w", format=clip_format, options=options) as container:
            if record is not None:
                container.metadata["comment"] = record.to_json()
            stream = container.add_stream(codec, rate=Fraction(fps))
            stream.width, stream.height, stream.pix_fmt = width, height, layout
            stream.options = {"crf": "17" if clip_format == "mp4" else "24", "threads": "1"}
            for picture in frames:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    except (av.error.FFmpegError, ValueError) as error:
        raise OutputError(f"{path} could not be written as {clip_format} ({error})") from error


def write_frames(folder: Path, frames: Frames, record: PictureRecord | None) -> Path:
    """A folder of PNGs, whole or not at all, and give it."""
    with written_aside(folder) as building:
        building.mkdir()
        for index, frame in enumerate(frames):
            Image.fromarray(frame).save(building / f"{index:05d}.png")
        if record is not None:
            write_json(building / _RECORD, json.loads(record.to_json()))
    return folder


def beside(path: Path) -> Path:
    """Where the record of a clip is, beside its file."""
    return path.with_name(f"{path.name}.json")


def read_clip_record(path: str | Path) -> PictureRecord | None:
    """The record in a clip: in its metadata, else beside it; None for a file that is no clip.

    Raises:
        PictureError: it is a clip without a record of ours, or cannot be read.
    """
    path = as_path(path)
    if path.is_dir() and (path / _RECORD).is_file():
        return PictureRecord.from_json((path / _RECORD).read_text())
    reader = _READERS.get(path.suffix.lower())
    if reader is None or not path.is_file():
        return None
    text = reader(path)
    if text is None and beside(path).is_file():
        text = beside(path).read_text()
    if text is None:
        raise PictureError(f"{path} holds no record of sanakit, and there is none beside it as {beside(path).name}")
    return PictureRecord.from_json(text)


def _video_comment(path: Path) -> str | None:
    av = need_av()
    try:
        with av.open(str(path)) as container:
            told = {name.lower(): value for name, value in container.metadata.items()}
    except (av.error.FFmpegError, ValueError) as error:
        raise PictureError(f"{path} could not be read as a clip ({error})") from error
    return told.get("comment")


def _gif_comment(path: Path) -> str | None:
    try:
        with Image.open(path) as image:
            found = image.info.get("comment")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise PictureError(f"{path} could not be read as a clip ({error})") from error
    return found.decode("ascii", "replace") if isinstance(found, bytes) else found


_READERS: dict[str, Callable[[Path], str | None]] = {
    ".mp4": _video_comment,
    ".webm": _video_comment,
    ".gif": _gif_comment,
}


def read_frames(path: str | Path, fps: int | None = None) -> Iterator[Frames]:
    """The frames of a clip, ``(H, W, 3)`` each, as its format holds them.

    Args:
        fps: of a clip that was written here. GIF and WebP hold equal frames that follow each other as one that is shown
            longer; with it, it comes as often as it was written.

    Raises:
        PictureError: it cannot be read.
    """
    path = as_path(path)
    try:
        if path.is_dir():
            yield from (np.asarray(Image.open(file).convert("RGB")) for file in sorted(path.glob("*.png")))
        elif path.suffix.lower() in _STILLS:
            with Image.open(path) as image:
                for frame in ImageSequence.Iterator(image):
                    yield from repeat(np.asarray(frame.convert("RGB")), _times(frame, fps))
        else:
            yield from _decoded(path)
    except (OSError, ValueError, EOFError, SyntaxError, Image.DecompressionBombError) as error:
        raise PictureError(f"{path} could not be read as a clip ({error})") from error


def _times(frame: Image.Image, fps: int | None) -> int:
    """How many frames one that was read is; a GIF has rounded its time down to hundredths of a second."""
    shown = frame.info.get("duration", 0)  # once it is decoded
    return 1 if fps is None else max(math.ceil(shown / _milliseconds(fps)), 1)


def _milliseconds(fps: int) -> int:
    return max(round(1000 / fps), 10)  # the least that a GIF knows


def _decoded(path: Path) -> Iterator[Frames]:
    av = need_av()
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="rgb24")
    except (av.error.FFmpegError, IndexError) as error:
        raise PictureError(f"{path} could not be read as a clip ({error})") from error
