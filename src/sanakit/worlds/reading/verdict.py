"""Whether a picture shows what its prompt asked for, one question at a time."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from sanakit.worlds.reading.scene_detector import DetectedObject, DetectedScene
from sanakit.worlds.scenes.scene import Scene, relation_holds

Check = Literal["object", "count", "colour", "position", "background", "all right"]


def judge(asked: Scene, seen: DetectedScene) -> dict[Check, bool]:
    """The answers for one picture.

    object: every named object is there. count: there are exactly as many of the name as asked. colour: each object
    that was asked for in a colour is there in it. position: both objects are there, and the relation holds between
    their centres. background: it is the named one, or white where none was named. all right: all of these, and
    nothing else is in the picture. A question that the scene does not raise counts as answered well.
    """
    there, needed = Counter(thing.name for thing in seen.objects), Counter(thing.name for thing in asked.objects)
    coloured = Counter(look for look in asked.looks if look[1] is not None)
    answers: dict[Check, bool] = {
        "object": needed <= there,
        "count": all(there[name] == number for name, number in needed.items()),
        "colour": coloured <= Counter((thing.name, thing.colour) for thing in seen.objects),
        "position": _relation_holds(asked, seen),
        "background": seen.background == asked.background,
    }
    answers["all right"] = all(answers.values()) and len(seen.objects) == asked.count
    return answers


def _relation_holds(asked: Scene, seen: DetectedScene) -> bool:
    if asked.relation is None:
        return True
    first, second = (_find(seen, thing.name) for thing in asked.objects)
    return first is not None and second is not None and relation_holds(asked.relation, first.box, second.box)


def _find(seen: DetectedScene, name: str) -> DetectedObject | None:
    """The clearest object of the name."""
    return max((thing for thing in seen.objects if thing.name == name), key=lambda thing: thing.score, default=None)
