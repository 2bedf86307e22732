"""Clips on disk for tests, with a red left half, a white bar that moves right, and what phones do to them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

WIDTH, HEIGHT = 96, 64
_CODECS = {".mp4": "libx264", ".mov": "libx264", ".mkv": "libx264", ".webm": "libvpx-vp9", ".avi": "mpeg4"}
_UPRIGHT = bytes.fromhex("00010000 00000000 00000000 00000000 00010000 00000000 00000000 00000000 40000000")
_SIDEWAYS = bytes.fromhex("00000000 00010000 00000000 ffff0000 00000000 00000000 00000000 00000000 40000000")


def write_clip(
    path: Path,
    *,
    num_frames: int = 24,
    fps: int = 12,
    times: Sequence[int] | None = None,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    step: int = 2,
) -> Path:
    """Args: ``times`` in milliseconds, of a variable rate; ``step`` is how far the bar moves a frame, in pixels."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(_CODECS[path.suffix], rate=fps)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv444p" if path.suffix == ".mkv" else "yuv420p"
        stream.options = {"crf": "10", "threads": "1"}
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(picture(number, size, step), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def picture(number: int, size: tuple[int, int] = (WIDTH, HEIGHT), step: int = 2) -> np.ndarray:
    width, height = size
    pixels = np.full((height, width, 3), 40, np.uint8)
    pixels[:, : width // 2, 0] = 200
    left = number * step % width
    pixels[8:16, left : left + 8] = 255
    return pixels


def lay_on_its_side(path: Path) -> None:
    """Say in an MP4 that it is to be turned by 90 degrees clockwise, as phones do."""
    content = path.read_bytes()
    place = content.index(_UPRIGHT, content.index(b"tkhd"))
    path.write_bytes(content[:place] + _SIDEWAYS + content[place + len(_UPRIGHT) :])
