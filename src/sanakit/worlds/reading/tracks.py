"""The same thing in the frames of a clip: what a reader sees in every frame, joined over time."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sanakit.worlds.reading.read_scene import ReadObject, ReadScene
from sanakit.worlds.scenes.description import Box, centre

_REACH = 0.3  # canvases from one frame to the next, as of the quickest hops
_UNDER_ANOTHER_NAME = 0.12  # a name that is read differently now and then; beyond that it is another thing
_MISSED = 3  # frames after which something under another name is another thing
_SIZE = 0.1  # canvases that a factor of e in size counts as


@dataclass(slots=True)
class Track:
    """One thing: what was read of it by number of the frame, in their order."""

    seen: dict[int, ReadObject] = field(default_factory=dict)

    @property
    def name(self) -> str | None:
        """Which most frames say, the surest counting most."""
        return _most((each.name, each.score) for each in self.seen.values())

    @property
    def colour(self) -> str | None:
        name = self.name
        return _most((each.colour, each.score) for each in self.seen.values() if each.name == name)

    @property
    def score(self) -> float:
        """How sure it is, over all frames in which it is there."""
        name = self.name
        return sum(each.score for each in self.seen.values() if each.name == name) / len(self.seen)


def follow(frames: Sequence[ReadScene]) -> list[Track]:
    """The things of a clip, those that are there first before others; the nearest in place, size and name is the same
    one."""
    tracks: list[Track] = []
    for number, read in enumerate(frames):
        near = sorted(
            (cost, own, other)
            for own, track in enumerate(tracks)
            for other, thing in enumerate(read.objects)
            if (cost := _cost(track, number, thing)) is not None
        )
        taken, given = set[int](), set[int]()
        for _, own, other in near:
            if own not in taken and other not in given:
                tracks[own].seen[number] = read.objects[other]
                taken.add(own)
                given.add(other)
        tracks += [Track({number: thing}) for other, thing in enumerate(read.objects) if other not in given]
    return tracks


def _cost(track: Track, number: int, thing: ReadObject) -> float | None:
    """How far apart they are, in canvases; None where they cannot be the same."""
    last = max(track.seen)
    before = track.seen[last]
    apart = math.dist(centre(before.box), centre(thing.box))
    if thing.name is None or thing.name not in {each.name for each in track.seen.values()}:
        if apart > _UNDER_ANOTHER_NAME or number - last > _MISSED:
            return None
        apart += _UNDER_ANOTHER_NAME
    return apart + _SIZE * abs(math.log(side(thing.box) / side(before.box))) if apart <= _REACH else None


def side(box: Box) -> float:
    """Of a square as large as the box."""
    return math.sqrt(max((box[2] - box[0]) * (box[3] - box[1]), 1e-6))


def _most(votes: Iterable[tuple[str | None, float]]) -> str | None:
    """The word with most weight; None only where no word was said."""
    weights = defaultdict[str, float](float)
    for word, weight in votes:
        if word is not None:
            weights[word] += weight
    return max(weights, key=weights.__getitem__, default=None)
