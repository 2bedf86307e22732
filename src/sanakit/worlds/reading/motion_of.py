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
_BENT, _HIGH = 0.012, 0.06  # of the canvas: from which on heights are no straight line, and something hops
_TURNS = 6.0  # levels of 255 by which a thing that stays where it is looks different half a second later
_LATE = 0.2  # of the clip, after which a thing has appeared
_CUT = 24  # pixels a side at which looks are compared
_MIDDLE = 0.6  # of a box each way
_LOOK_AGAIN = 0.5  # seconds
_RATES = np.linspace(0.3, 2.8, 51)  # hops a second that are tried
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
    if (hops := _hops(times, down)) is not None:
        return Seen("bouncing", hops.rate)
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


class _Hops(NamedTuple):
    """Hops a second, how high in canvases, and by how much heights are off in the median frame."""

    rate: float
    height: float
    off: float


def _hops(times: Floats, heights: Floats) -> _Hops | None:
    """The hops ``a - b |sin|`` that say the heights best; None where a straight line says them better, or they are no
    more than what the reader's boxes tremble."""
    rest = heights - _slope(times, heights) * times
    straight = float(np.median(np.abs(rest - np.median(rest))))
    if straight <= _BENT:
        return None
    best = min((_fitted(times, heights, rate) for rate in _RATES.tolist()), key=lambda hops: hops.off)
    return best if best.off < straight and best.height >= _HIGH else None


def _fitted(times: Floats, heights: Floats, rate: float) -> _Hops:
    hops = np.abs(np.sin(math.pi * rate * times[None] + _PHASES[:, None]))  # (phases, frames)
    hops = hops - hops.mean(1, keepdims=True)
    level = heights - heights.mean()
    high = -(hops @ level) / np.maximum((hops**2).sum(1), 1e-9)  # heights are counted downwards
    off = np.median(np.abs(level + high[:, None] * hops), axis=1)
    best = int(np.where(high > 0, off, np.inf).argmin())
    return _Hops(rate, float(high[best]), float(off[best]) if high[best] > 0 else math.inf)


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
    left, top = np.clip((middle - half) * (width, height), 0, (width - 1, height - 1))  # a pixel of it at least
    right, bottom = np.minimum((middle + half) * (width, height), (width, height))
    edges = (left, top, max(right, left + 1), max(bottom, top + 1))
    return np.asarray(Image.fromarray(frame).resize((_CUT, _CUT), Image.Resampling.BILINEAR, box=edges), np.float32)
