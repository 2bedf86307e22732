"""Clips written as their frames come, so that none has to be kept: MP4 and WebM through PyAV, GIF and animated WebP, or
a folder of PNGs.

The record holds the hash of all frames, and containers want it before the first one or refuse it after: it is written
with a hash of zeros, and exchanged at the end.
"""

from __future__ import annotations

import io
import json
import mmap
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.GifImagePlugin import getdata

from sanakit.common.errors import OutputError, SanakitError
from sanakit.common.files import write_json
from sanakit.pipelines.clips.files import RECORD, milliseconds, need_av
from sanakit.pipelines.clips.passing import PassingFrames
from sanakit.pipelines.picture_file import record_exif
from sanakit.pipelines.record import PictureRecord

_WEBP_QUALITY = 90
_BLOCK = 255  # bytes of a GIF's comment in one piece
_SHOWN_AGAIN = b"!\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"  # for ever
_LONGEST = 65535  # px a side of a GIF


def write_clip(
    path: Path, frames: PassingFrames, fps: int, clip_format: str, record: PictureRecord | None = None
) -> None:
    """One file or folder of a clip.

    Args:
        record: what the file is to hold, without ``image`` where the frames are not known yet.

    Raises:
        RequestError: PyAV is not installed.
        OutputError: the encoder refuses it.
    """
    write, stored = _FORMATS[clip_format]
    announced = b"" if record is None else stored(frames.announced(record))
    try:
        write(path, frames, fps, announced)
    except SanakitError:  # of decoding, or what PyAV said
        raise
    except (ValueError, OverflowError) as error:  # a WebP has 4 GB at most
        raise OutputError(f"{path.name} could not be written as {clip_format} ({error})") from error
    if record is not None:
        _exchange(path, announced, stored(frames.finished(record)))


def _exchange(path: Path, announced: bytes, finished: bytes) -> None:
    """Bytes in a file for as many others."""
    if path.is_dir():
        write_json(path / RECORD, json.loads(finished))
        return
    assert len(announced) == len(finished), "a record that is as long at the end"
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as content:
        content[(at := content.find(announced)) : at + len(finished)] = finished


def _as_text(record: PictureRecord) -> bytes:
    return record.to_json().encode()


def _as_blocks(record: PictureRecord) -> bytes:
    """As a comment of a GIF."""
    text = _as_text(record)
    blocks = (text[begin : begin + _BLOCK] for begin in range(0, len(text), _BLOCK))
    return b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


def _as_exif(record: PictureRecord) -> bytes:
    """As WebP has it, without the name that JPEG has before it."""
    return record_exif(record).removeprefix(b"Exif\0\0")


def _write_mp4(path: Path, frames: PassingFrames, fps: int, comment: bytes) -> None:
    _write_video(path, frames, fps, comment, ("mp4", "libx264", "17"), movflags="use_metadata_tags")


def _write_webm(path: Path, frames: PassingFrames, fps: int, comment: bytes) -> None:
    """Without sums of what is exchanged, and without a number of chance."""
    _write_video(path, frames, fps, comment, ("webm", "libvpx-vp9", "24"), write_crc32="0", fflags="+bitexact")


def _write_video(
    path: Path, frames: PassingFrames, fps: int, comment: bytes, coding: tuple[str, str, str], **options: str
) -> None:
    """``coding`` is the container, the codec, and its quality."""
    av, (container_format, codec, crf) = need_av(), coding
    height, width = (side - side % 2 for side in (frames.height, frames.width))  # chroma of half the size has none
    try:
        with av.open(str(path.absolute()), "w", format=container_format, options=options) as container:
            if comment:
                container.metadata["comment"] = comment.decode()
            stream = container.add_stream(codec, rate=Fraction(fps))
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.options = {"crf": crf, "threads": "1"}
            for picture in frames:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    except av.error.FFmpegError as error:
        raise OutputError(f"{path.name} could not be written as {container_format} ({error})") from error


def _write_gif(path: Path, frames: PassingFrames, fps: int, comment: bytes) -> None:
    """Every frame with 256 colours of its own."""
    if max(frames.height, frames.width) > _LONGEST:
        raise OutputError(f"{path.name} cannot be a GIF, whose sides have {_LONGEST} px at most; choose another format")
    with path.open("wb") as file:
        file.write(b"GIF89a" + _little(frames.width, 2) + _little(frames.height, 2) + b"\0\0\0" + _SHOWN_AGAIN)
        file.write(b"!\xfe" + comment if comment else b"")
        for frame in frames:
            picture = Image.fromarray(frame).convert("P", palette=Image.Palette.ADAPTIVE)
            file.writelines(getdata(picture, duration=milliseconds(fps), include_color_table=True))
        file.write(b";")


def _write_webp(path: Path, frames: PassingFrames, fps: int, exif: bytes) -> None:
    """Every frame as a picture of its own (RFC 9649, section 2.7)."""
    area = _little(frames.width - 1, 3) + _little(frames.height - 1, 3)
    shown = _little(milliseconds(fps), 3)
    with path.open("wb") as file:
        file.write(b"RIFF\0\0\0\0WEBP")
        file.write(_chunk(b"VP8X", bytes([0x0A if exif else 0x02, 0, 0, 0]) + area))
        file.write(_chunk(b"ANIM", bytes(6)))
        for frame in frames:
            still = io.BytesIO()
            Image.fromarray(frame).save(still, "webp", quality=_WEBP_QUALITY)
            file.write(_chunk(b"ANMF", bytes(6) + area + shown + b"\x02" + still.getvalue()[12:]))
        file.write(_chunk(b"EXIF", exif) if exif else b"")
        size = file.tell() - 8
        file.seek(4)
        file.write(_little(size, 4))


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + _little(len(content), 4) + content + b"\0" * (len(content) % 2)


def _little(number: int, num_bytes: int) -> bytes:
    return number.to_bytes(num_bytes, "little")


def _write_pngs(path: Path, frames: PassingFrames, fps: int, record: bytes) -> None:
    path.mkdir()
    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(path / f"{index:05d}.png")


_Write = Callable[[Path, PassingFrames, int, bytes], Any]
_FORMATS: dict[str, tuple[_Write, Callable[[PictureRecord], bytes]]] = {
    "mp4": (_write_mp4, _as_text),
    "webm": (_write_webm, _as_text),
    "gif": (_write_gif, _as_blocks),
    "webp": (_write_webp, _as_exif),
    "png": (_write_pngs, _as_text),
}
"""How frames are written, and what of a record stands in the file."""
