"""Clips on disk for tests, with a red left half, a white bar that moves right, and what phones do to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

WIDTH, HEIGHT = 96, 64
_CODECS = {".mp4": "libx264", ".mov": "libx264", ".mkv": "libx264", ".webm": "libvpx-vp9", ".avi": "mpeg4"}
Draw = Callable[[int], np.ndarray]
_UPRIGHT = bytes.fromhex("00010000 00000000 00000000 00000000 00010000 00000000 00000000 00000000 40000000")
_MIRRORED = bytes.fromhex("ffff0000 00000000 00000000 00000000 00010000 00000000 00000000 00000000 40000000")
_SIDEWAYS = bytes.fromhex("00000000 00010000 00000000 ffff0000 00000000 00000000 00000000 00000000 40000000")


def write_clip(
    path: Path,
    *,
    num_frames: int = 24,
    fps: int = 12,
    times: Sequence[int] | None = None,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    step: int = 2,
    codec: str = "",
    pix_fmt: str = "",
    draw: Draw | None = None,
    container_options: Mapping[str, str] = {},
    **options: str,
) -> Path:
    """A clip of pictures (or of what is drawn, RGB or RGBA) in the codec that a suffix stands for, or in another.

    Args:
        times: in milliseconds, of a variable rate.
        step: how far the bar moves a frame, in pixels.
        options: of the codec.
    """
    draw = draw or (lambda number: picture(number, size, step))
    with av.open(str(path), "w", options=dict(container_options)) as container:
        stream = container.add_stream(codec or _CODECS[path.suffix], rate=fps)
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt or ("yuv444p" if path.suffix == ".mkv" else "yuv420p")
        stream.options = {"crf": "10", "threads": "1"} | options
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(num_frames):
            pixels = draw(number)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgba" if pixels.shape[2] == 4 else "rgb24")
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


def lay_on_its_side(path: Path, *, mirrored: bool = False) -> None:
    """Say in an MP4 that it is to be turned by 90 degrees clockwise, as phones do, or mirrored instead."""
    content, matrix = path.read_bytes(), _MIRRORED if mirrored else _SIDEWAYS
    place = content.index(_UPRIGHT, content.index(b"tkhd"))
    path.write_bytes(content[:place] + matrix + content[place + len(_UPRIGHT) :])
