"""What a thing does in a clip, by where it is in every frame and how it looks there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sanakit.worlds.reading.tracks import Track, side
from sanakit.worlds.scenes.description import Box, MotionKind, centre

_MOVES = 0.05  # of the canvas in all, from which on it goes somewhere: what goes slowly in a half goes 0.07
_GROWS = 0.2  # logarithm of the size, as far as above: what comes slowly grows by a third, 0.34
_AS_FAR = 0.4  # canvases that count as much as a factor of e in size: things alike also move apart as they come closer
_HOPS = 0.012  # of the canvas, from which on heights are no straight line
_TURNS = 6.0  # levels of 255 by which a thing that stays where it is looks different half a second later
_LATE = 0.2  # of the clip, after which a thing has appeared
_CUT = 24  # pixels a side at which looks are compared
_MIDDLE = 0.6  # of a box each way
_LOOK_AGAIN = 0.5  # seconds
_FREQUENCIES = np.linspace(0.3, 2.8, 51)  # hops a second that are tried
_PHASES = np.linspace(0, math.pi, 24, endpoint=False)
Floats = NDArray[np.float64]


class Seen(NamedTuple):
    """What a thing does; ``rate`` is how quickly: canvases a second, its growth over the whole clip as a factor above
    1, hops a second; None where that cannot be told."""

    kind: MotionKind | None
    rate: float | None = None


def motion_of(track: Track, frames: Sequence[NDArray[np.uint8]], fps: float) -> Seen:
    """Of one thing in frames ``(H, W, 3)``; it stands still where nothing is clear.

    Slopes are medians over all pairs of frames (Theil and Sen), so that single frames that were read wrongly do not
    count.
    """
    numbers = np.array(sorted(track.seen))
    if len(numbers) < 3:
        return Seen(None)
    boxes = [track.seen[number].box for number in numbers]
    times, seconds = numbers / fps, (len(frames) - 1) / fps
    across, down = np.array([centre(box) for box in boxes]).T
    growth = _slope(times, np.log([side(box) for box in boxes])) * seconds
    if _is_bouncing(times, down):
        return Seen("bouncing", _hops(times, down))
    right, lower = _slope(times, across), _slope(times, down)
    moved = max(abs(right), abs(lower)) * seconds
    if moved < _MOVES and abs(growth) < _GROWS:
        if numbers[0] >= _LATE * len(frames):
            return Seen("appearing")
        return Seen("turning") if _looks_change(boxes, frames, fps) >= _TURNS else Seen(None)
    if abs(growth) * _AS_FAR > moved:
        return Seen("towards" if growth > 0 else "away", math.exp(abs(growth)))
    if abs(right) > abs(lower):
        return Seen("right" if right > 0 else "left", abs(right))
    return Seen("down" if lower > 0 else "up", abs(lower))


def _slope(times: Floats, values: Floats) -> float:
    first, second = np.triu_indices(len(times), 1)
    return float(np.median((values[second] - values[first]) / (times[second] - times[first])))


def _is_bouncing(times: Floats, heights: Floats) -> bool:
    """Whether heights are no straight line, and hops say them better."""
    rest = heights - _slope(times, heights) * times
    off = float(np.median(np.abs(rest - np.median(rest))))
    return off > _HOPS and _fits(times, heights)[1] < off


def _hops(times: Floats, heights: Floats) -> float:
    return _fits(times, heights)[0]


def _fits(times: Floats, heights: Floats) -> tuple[float, float]:
    """The hops a second whose heights ``a - b |sin|`` are nearest, and by how much they are off in the median frame."""
    best = (0.0, math.inf)
    for frequency in _FREQUENCIES:
        hops = np.abs(np.sin(math.pi * frequency * times[None] + _PHASES[:, None]))  # (phases, frames)
        hops = hops - hops.mean(1, keepdims=True)
        level = heights - heights.mean()
        height = hops @ level / np.maximum((hops**2).sum(1), 1e-9)
        off = np.median(np.abs(level - height[:, None] * hops), axis=1)
        off[height >= 0] = math.inf  # heights are counted downwards, and hops go up
        if off.min() < best[1]:
            best = (float(frequency), float(off.min()))
    return best


def _looks_change(boxes: Sequence[Box], frames: Sequence[NDArray[np.uint8]], fps: float) -> float:
    """The mean difference of levels between what is in the middle of its box now and half a second later.

    The box is the same for all frames, as what is read of it trembles, and its edges are left out, where others pass.
    """
    step = max(1, round(_LOOK_AGAIN * fps))
    looks = [_middle(frame, np.median(boxes, axis=0)) for frame in frames]
    changes = [float(np.abs(now - later).mean()) for now, later in zip(looks, looks[step:], strict=False)]
    return float(np.mean(changes)) if changes else 0.0


def _middle(frame: NDArray[np.uint8], box: Floats) -> NDArray[np.float32]:
    """``(24, 24, 3)``."""
    height, width = frame.shape[:2]
    middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * _MIDDLE
    left, top = np.maximum(middle - half, 0) * (width, height)
    right, bottom = np.minimum(middle + half, 1) * (width, height)
    edges = (left, top, max(right, left + 1), max(bottom, top + 1))
    return np.asarray(Image.fromarray(frame).resize((_CUT, _CUT), Image.Resampling.BILINEAR, box=edges), np.float32)
