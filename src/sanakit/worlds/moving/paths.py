"""Paths of things that move: boxes, views and whether they are there, frame by frame."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.drawing.looks import look_of
from sanakit.worlds.moving.sides import view_at
from sanakit.worlds.sampling.repainting import fitted
from sanakit.worlds.scenes.description import Box, Motion, MotionKind, Pose, Scene, SceneObject, SpeedWord

MOTIONS_VERSION = "1"  # a part of keys: it changes whenever the same seed gives other motions or paths
# In canvases a second; untold speeds lie between, so that a word that is not there is never wrong by much.
_SPEEDS: Mapping[SpeedWord | None, tuple[float, float]] = {
    None: (0.12, 0.2), "slow": (0.07, 0.1), "quick": (0.24, 0.3),
}  # fmt: skip
_GROWTH: Mapping[SpeedWord | None, tuple[float, float]] = {  # factor of the size over a whole clip
    None: (1.8, 2.4), "slow": (1.4, 1.6), "quick": (2.8, 3.4),
}  # fmt: skip
_TURNS: Mapping[SpeedWord | None, tuple[float, float]] = {None: (0.3, 0.45), "slow": (0.15, 0.2), "quick": (0.7, 0.9)}
_HOPS: Mapping[SpeedWord | None, tuple[float, float]] = {None: (0.9, 1.2), "slow": (0.5, 0.6), "quick": (1.8, 2.2)}
_RATES: Mapping[MotionKind, Mapping[SpeedWord | None, tuple[float, float]]] = {
    **dict.fromkeys(("left", "right", "up", "down"), _SPEEDS), **dict.fromkeys(("towards", "away"), _GROWTH),
    "turning": _TURNS, "bouncing": _HOPS,
}  # fmt: skip
_LONGEST = 0.55  # canvases that a thing travels at most
_LARGEST = 0.5  # of its region that a moving thing fills at most, so that it has somewhere to go
_DIRECTIONS: Mapping[MotionKind, tuple[int, int]] = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
_OFF_THE_GROUND = ("up", "down", "bouncing")

Boxes = NDArray[np.float64]
"""``(objects, 4)``, or ``(frames, objects, 4)``."""


def set_in_motion(scene: Scene, rng: Generator, bank: Bank, *, num_frames: int, fps: float) -> Scene:
    """The scene with a path for everything that moves: its boxes are moved and made smaller where a motion needs room.

    Of a pair each keeps to its half of the canvas; things alike move together.
    """
    seconds = (num_frames - 1) / fps
    if num_frames < 2 or all(thing.motion is None for thing in scene.objects):
        return scene
    times = np.linspace(0, seconds, num_frames)
    if scene.kind != "pair":
        return replace(scene, objects=_together(scene.objects, (0.0, 0.0, 1.0, 1.0), times, rng, bank))
    regions = _halves(scene.objects, rng)
    objects = [
        *_together(scene.objects[:1], regions[0], times, rng, bank),
        *_together(scene.objects[1:], regions[1], times, rng, bank),
    ]
    return replace(scene, objects=tuple(objects))


def speed_fits(motion: Motion, rate: float, *, seconds: float, room: float = 1.0) -> bool:
    """Whether a rate, as paths have it, is as near to that of the motion's word as to any other's.

    Args:
        rate: canvases a second, growth over the clip as a factor, hops or turns a second.
        seconds: of the clip, in which nothing travels farther than half the canvas and a little.
        room: see `room_of`.
    """
    far = {word: _off(rate, band, motion.kind, seconds, room) for word, band in _RATES[motion.kind].items()}
    return far[motion.speed] <= min(far.values()) + 1e-9


def speed_word(kind: MotionKind, rate: float, *, seconds: float) -> SpeedWord | None:
    """The word for a rate; None is between slow and quick."""
    words: tuple[SpeedWord | None, ...] = (None, "slow", "quick")
    return next(word for word in words if speed_fits(Motion(kind=kind, speed=word), rate, seconds=seconds))


def room_of(thing: SceneObject, scene: Scene) -> float:
    """The part of the canvas that a thing has for going to a side, up or down; it goes so much more slowly there."""
    goes = {each.motion.kind for each in scene.objects if each.motion is not None}
    halved = scene.kind == "pair" and bool(goes & {"left", "right"})
    return 0.5 if halved and thing.motion is not None and thing.motion.kind in ("up", "down") else 1.0


def _off(rate: float, band: tuple[float, float], kind: MotionKind, seconds: float, room: float) -> float:
    """How far a rate is from a band, as a factor's logarithm."""
    if kind in _DIRECTIONS:
        band = (min(band[0], _LONGEST / seconds) * room, min(band[1], _LONGEST / seconds) * room)
    return max(math.log(band[0] / rate), math.log(rate / band[1]), 0.0)


def _halves(pair: Sequence[SceneObject], rng: Generator) -> tuple[Box, Box]:
    """One above the other where something goes to a side, else beside each other."""
    kinds = {thing.motion.kind for thing in pair if thing.motion is not None}
    across = bool(kinds & {"left", "right"})
    halves = ((0.0, 0.0, 1.0, 0.5), (0.0, 0.5, 1.0, 1.0)) if across else ((0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0))
    return halves if rng.random() < 0.5 else (halves[1], halves[0])


def _together(
    things: Sequence[SceneObject], region: Box, times: NDArray[np.float64], rng: Generator, bank: Bank
) -> tuple[SceneObject, ...]:
    """The same motion for all of them, in a region of the canvas."""
    motion, boxes = things[0].motion, np.array([thing.box for thing in things])
    if motion is None:
        placed = _placed(boxes, region, (0.0, 0.0), rng)
        return tuple(replace(thing, box=_box(box)) for thing, box in zip(things, placed, strict=True))
    paths, seen = _paths(boxes, motion, region, times, rng)  # (frames, objects, 4), (frames,)
    turns = _turned(motion, times, rng)
    objects = []
    for number, thing in enumerate(things):
        look = look_of(thing, bank)
        views = [view_at(look, thing.view, turn, time) for turn, time in zip(turns, times.tolist(), strict=True)]
        path = tuple(
            Pose(box=_box(box) if view == thing.view else fitted(_box(box), look, view), view=view, seen=bool(there))
            for box, view, there in zip(paths[:, number], views, seen, strict=True)
        )
        shadow = thing.shadow and motion.kind not in _OFF_THE_GROUND
        objects.append(replace(thing, box=path[0].box, view=path[0].view, shadow=shadow, path=path))
    return tuple(objects)


def _paths(
    boxes: Boxes, motion: Motion, region: Box, times: NDArray[np.float64], rng: Generator
) -> tuple[Boxes, NDArray[np.bool_]]:
    """Boxes ``(frames, objects, 4)``, and in which frames they are there."""
    share, seen = times / times[-1], np.ones(len(times), np.bool_)
    side = min(region[2] - region[0], region[3] - region[1])
    match motion.kind:
        case "left" | "right" | "up" | "down":
            across, down = _DIRECTIONS[motion.kind]
            extent = region[2] - region[0] if across else region[3] - region[1]
            far = min(rng.uniform(*_SPEEDS[motion.speed]) * times[-1], _LONGEST) * extent
            shifts = np.outer(share, (across * far, down * far))
        case "bouncing":
            height, hops = 0.3 * side, rng.uniform(*_HOPS[motion.speed])
            heights = np.abs(np.sin(math.pi * hops * times + rng.uniform(0, math.pi)))
            shifts = np.outer(heights, (0.0, -height))
        case "towards" | "away":
            factor = rng.uniform(*_GROWTH[motion.speed])
            sizes = factor ** (share - 1 if motion.kind == "towards" else -share)
            return _scaled(_placed(boxes, region, (0.0, 0.0), rng, largest=0.95), sizes), seen
        case "appearing":
            seen = share >= rng.uniform(0.3, 0.6)
            shifts = np.zeros((len(times), 2))
        case "turning":
            shifts = np.zeros((len(times), 2))
    low, high = shifts.min(axis=0), shifts.max(axis=0)
    free = (region[0] - low[0], region[1] - low[1], region[2] - high[0], region[3] - high[1])
    placed = _placed(boxes, free, (high - low).tolist(), rng)
    return placed[None] + np.tile(shifts, 2)[:, None], seen


def _placed(
    boxes: Boxes, region: Sequence[float], moves: Sequence[float], rng: Generator, *, largest: float = _LARGEST
) -> Boxes:
    """The boxes moved and scaled as one into a region, which ``moves`` has made smaller already."""
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    room = np.array([region[2] - region[0], region[3] - region[1]])
    scale = min(1.0, *(largest * (room + np.array(moves)) / (high - low)), *(0.98 * room / (high - low)))
    half = scale * (high - low) / 2
    centre = np.array([rng.uniform(region[axis] + half[axis], region[axis + 2] - half[axis]) for axis in (0, 1)])
    corners = (boxes.reshape(-1, 2, 2) - (low + high) / 2) * scale + centre
    return np.asarray(corners.reshape(-1, 4))


def _scaled(boxes: Boxes, sizes: NDArray[np.float64]) -> Boxes:
    """About the middle of all, by a factor for each frame."""
    centre = (boxes[:, :2].min(axis=0) + boxes[:, 2:].max(axis=0)) / 2
    corners = (boxes.reshape(1, -1, 2, 2) - centre) * sizes[:, None, None, None] + centre
    return np.asarray(corners.reshape(len(sizes), -1, 4))


def _turned(motion: Motion, times: NDArray[np.float64], rng: Generator) -> NDArray[np.float64]:
    """Degrees by which a thing has turned in each frame."""
    if motion.kind != "turning":
        return np.zeros(len(times))
    way = 1 if rng.random() < 0.5 else -1
    return np.asarray(way * 360 * rng.uniform(*_TURNS[motion.speed]) * times)


def _box(values: NDArray[np.float64]) -> Box:
    left, top, right, bottom = values.tolist()
    return left, top, right, bottom
