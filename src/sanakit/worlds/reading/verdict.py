"""Whether a picture shows what its prompt asked for, one question at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from types import MappingProxyType
from typing import Literal

from sanakit.worlds.reading.scene_detector import DetectedObject, DetectedScene
from sanakit.worlds.scenes.scene import Relation, Scene

Check = Literal["object", "count", "colour", "position", "background", "all right"]

_MIN_OFFSET = 0.1  # of the canvas, between centres: less is neither left nor right
# Axis (0 across, 1 down) and direction of the first object's centre as seen from the second's.
_DIRECTIONS: MappingProxyType[Relation, tuple[int, int]] = MappingProxyType(
    {"left": (0, -1), "right": (0, 1), "above": (1, -1), "below": (1, 1)}
)


def judge(asked: Scene, seen: DetectedScene) -> dict[Check, bool]:
    """The answers for one picture.

    object: every named object is there. count: there are exactly as many of the name as asked. colour: each object
    that was asked for in a colour is there in it. position: both objects are there, and the relation holds between
    their centres. background: it is the named one, or white where none was named. all right: all of these, and
    nothing else is in the picture. A question that the scene does not raise counts as answered well.
    """
    answers: dict[Check, bool] = {
        "object": _contains([thing.name for thing in seen.objects], [thing.name for thing in asked.objects]),
        "count": _same_numbers(asked, seen),
        "colour": _contains(
            [(thing.name, thing.colour) for thing in seen.objects],
            [(thing.name, thing.colour) for thing in asked.objects if thing.colour is not None],
        ),
        "position": _relation_holds(asked, seen),
        "background": seen.background == asked.background,
    }
    answers["all right"] = all(answers.values()) and len(seen.objects) == asked.count
    return answers


def _contains(there: Sequence[Hashable], needed: Sequence[Hashable]) -> bool:
    return not Counter(needed) - Counter(there)


def _same_numbers(asked: Scene, seen: DetectedScene) -> bool:
    there = Counter(thing.name for thing in seen.objects)
    return all(there[name] == number for name, number in Counter(thing.name for thing in asked.objects).items())


def _relation_holds(asked: Scene, seen: DetectedScene) -> bool:
    if asked.relation is None:
        return True
    first, second = (_find(seen, thing.name) for thing in asked.objects)
    if first is None or second is None:
        return False
    axis, direction = _DIRECTIONS[asked.relation]
    return (first.centre[axis] - second.centre[axis]) * direction >= _MIN_OFFSET


def _find(seen: DetectedScene, name: str) -> DetectedObject | None:
    """The clearest object of the name."""
    return max((thing for thing in seen.objects if thing.name == name), key=lambda thing: thing.score, default=None)
