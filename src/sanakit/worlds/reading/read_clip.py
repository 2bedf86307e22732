"""What a clip shows: a reader's answers for its frames, joined over time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sanakit.worlds.moving.paths import speed_word
from sanakit.worlds.reading.motion_of import motion_of
from sanakit.worlds.reading.read_scene import Reader, ReadObject, ReadScene
from sanakit.worlds.reading.tracks import Track, follow
from sanakit.worlds.scenes.description import Box, Motion
from sanakit.worlds.telling.motions import canonical_motion
from sanakit.worlds.telling.phrases import join

READ_FPS = 8.0  # frames a second that are read of a clip that has more: the quickest hops still show
_THERE = 0.5  # of the frames after it is first seen: what is seen less is a mistake of some frames
_LEAST = 0.25  # of all frames

Frames = NDArray[np.uint8]
"""``(T, H, W, 3)`` RGB."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadThing:
    """One thing over the clip: ``boxes`` by frame that was read, None where it is not there.

    ``motion`` None stands still. ``rate`` says how quickly: canvases a second, growth over the whole clip as a factor
    above 1, or hops a second; None of what turns or appears.
    """

    name: str | None
    colour: str | None
    score: float
    boxes: tuple[Box | None, ...]
    motion: Motion | None = None
    rate: float | None = None

    @property
    def words(self) -> str:
        """ "red apple quickly moving to the left"."""
        return join(self.colour, self.name or "something unknown", canonical_motion(self.motion))

    @property
    def box(self) -> Box:
        """Its middle one, edge by edge."""
        left, top, right, bottom = np.median([box for box in self.boxes if box is not None], axis=0).tolist()
        return left, top, right, bottom


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadClip:
    """What a clip of ``seconds`` shows; the things that are surest come first, the rest is as of `ReadScene`."""

    things: tuple[ReadThing, ...]
    ground: str | None
    place: str | None
    seconds: float

    @property
    def still(self) -> ReadScene:
        """All of it but the motion, as a picture would show it."""
        objects = (ReadObject(name=o.name, colour=o.colour, box=o.box, score=o.score) for o in self.things)
        return ReadScene(objects=tuple(objects), ground=self.ground, place=self.place)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def read_clip(reader: Reader, frames: Frames, fps: float) -> ReadClip:
    """Read ``(T, H, W, 3)``, of clips that have more every second, third ... frame, so that it is about 8 a second, and
    follow the things over time."""
    step = max(1, round(fps / READ_FPS))
    return joined([reader.read(frame) for frame in frames[::step]], frames[::step], fps / step)


def joined(reads: Sequence[ReadScene], frames: Frames, fps: float) -> ReadClip:
    """The same of frames that were read already."""
    seconds = (len(frames) - 1) / fps
    tracks = [track for track in follow(reads) if _is_there(track, len(reads))]
    things = sorted((_thing(track, frames, fps) for track in tracks), key=lambda thing: -thing.score)
    ground, place = Counter((read.ground, read.place) for read in reads).most_common(1)[0][0]
    return ReadClip(things=tuple(things), ground=ground, place=place, seconds=seconds)


def _is_there(track: Track, num_frames: int) -> bool:
    return len(track.seen) >= max(_THERE * (num_frames - min(track.seen)), _LEAST * num_frames)


def _thing(track: Track, frames: Frames, fps: float) -> ReadThing:
    kind, rate = motion_of(track, list(frames), fps)
    speed = None if kind is None or rate is None else speed_word(kind, rate, seconds=(len(frames) - 1) / fps)
    return ReadThing(
        name=track.name,
        colour=track.colour,
        score=track.score,
        boxes=tuple(track.seen[number].box if number in track.seen else None for number in range(len(frames))),
        motion=None if kind is None else Motion(kind=kind, speed=speed),
        rate=rate,
    )
