"""Clips of every container and codec that PyAV reads, GIF and WebP, as upright RGB frames at a rate of one's own; and
what their headers say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sanakit.common.errors import PictureError
from sanakit.common.free_memory import free_memory
from sanakit.data.films.animations import facts_of_animation, frames_of_animation, may_be_animation
from sanakit.data.films.containers import (
    Frame,
    Timed,
    facts_in_container,
    frames_in_container,
    read_container_to_the_end,
)
from sanakit.data.samples import ClipFacts

READING_CLIPS = 2  # version of how a clip becomes frames: part of the keys of cached latents
_BYTES_PER_PIXEL = 6  # of frames that are read, and then put side by side


def clip_facts(file: BinaryIO) -> tuple[tuple[int, int], ClipFacts]:
    """``(width, height)`` upright, and the rest, from header and first frame, or by the times of all of an animation.

    Raises:
        PictureError: it is no clip that can be read, or PyAV is not installed.
    """
    return facts_of_animation(file) if may_be_animation(file) else facts_in_container(file)


def frames_at(file: BinaryIO, *, num_frames: int, fps: float) -> NDArray[np.uint8]:
    """The first ``num_frames`` moments ``1 / fps`` apart, as ``(T, H, W, 3)``: of each the frame that is shown then,
    whatever the rate of the clip is, or its rates are.

    Raises:
        PictureError: it cannot be read, is damaged there, or ends before.
    """
    return np.stack([*each_frame_at(file, num_frames=num_frames, fps=fps)])


def each_frame_at(file: BinaryIO, *, num_frames: int, fps: float) -> Iterator[Frame]:
    """The same one by one, where not all of them are to be in memory."""
    num, last, end = 0, None, 0.0
    for frame, time, until in _timed(file):
        while num < num_frames and last is not None and num / fps < time - 1e-4:
            yield last
            num += 1
        if num == num_frames:
            return
        last, end = frame, until
    while last is not None and num < num_frames and num / fps < end + 0.5 / fps:
        yield last
        num += 1
    if num < num_frames:
        raise PictureError(f"the clip ends after {end:.2f} s, and {num_frames} frames at {fps:g} a second were wanted")


def beginning(
    file: BinaryIO, *, fps: float, at_most: int, bytes_per_pixel: int = _BYTES_PER_PIXEL
) -> tuple[NDArray[np.uint8], float]:
    """The first frames ``(T, H, W, 3)``, up to so many, at that rate or at the clip's own where that is lower; and the
    rate.

    Args:
        bytes_per_pixel: of memory, for what becomes of the frames, too.

    Raises:
        PictureError: it cannot be read, or needs more memory than is free.
    """
    (width, height), facts = clip_facts(file)
    rate = min(fps, facts.fps)
    num = min(at_most, max(1, round(facts.seconds * rate)))
    check_memory(num, (width, height), bytes_per_pixel)
    file.seek(0)
    return frames_at(file, num_frames=num, fps=rate), rate


def check_memory(num_frames: int, size: tuple[int, int], bytes_per_pixel: int) -> None:
    """Raises PictureError where so many frames of ``(width, height)`` need more than is free."""
    width, height = size
    need, free = num_frames * width * height * bytes_per_pixel, free_memory()
    if free is not None and need > free:
        raise PictureError(
            f"{num_frames} frames of {width}x{height} px need {need / 1e9:.1f} GB, and {free / 1e9:.1f} are free"
        )


def first_frame(file: BinaryIO) -> Image.Image:
    """As a picture.

    Raises:
        PictureError: it cannot be read.
    """
    for frame, _, _ in _timed(file):
        return Image.fromarray(frame)
    raise PictureError("the clip holds no frame")


def read_clip_to_the_end(file: BinaryIO) -> None:
    """Decode every frame.

    Raises:
        PictureError: one is damaged, or the clip ends before its header says, as a copy that was broken off does.
    """
    if not may_be_animation(file):
        read_container_to_the_end(file)
        return
    for _ in frames_of_animation(file):
        pass


def motion_score(frames: NDArray[np.uint8], fps: float) -> int:
    """How much moves in ``(T, H, W, 3)``: the mean difference of levels (0 to 255) between frames half a second apart,
    which are shrunk to 64 pixels a side before, so that noise and fine texture do not count; 0 of a picture.

    Upstream takes the mean length of the optical flow in pixels; this needs no network and has about its range.
    """
    step = max(1, round(fps / 2))
    if len(frames) <= step:
        step = len(frames) - 1
    if step < 1:
        return 0
    small = [np.asarray(Image.fromarray(frame).convert("L").resize((64, 64), Image.Resampling.BOX)) for frame in frames]
    levels = np.stack(small).astype(np.float32)
    return round(float(np.abs(levels[step:] - levels[:-step]).mean()))


def _timed(file: BinaryIO) -> Iterator[Timed]:
    return frames_of_animation(file) if may_be_animation(file) else frames_in_container(file)
