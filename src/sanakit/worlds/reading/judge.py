"""Whether a picture shows what a scene asks for, one question at a time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from sanakit.worlds.reading.read_scene import ReadObject, ReadScene
from sanakit.worlds.scenes.description import Relation, Scene, SceneObject, overlap, relation_holds

_LOWER = 0.04  # of the canvas: what ends so much farther down stands nearer


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Answers; None is a question that the scene does not ask.

    Attributes:
        things: every named thing is there.
        count: of several alike there are as many as asked for.
        colour: each thing that has a colour word is there in that colour.
        relation: both things are there, and the clearest of each stand as asked for.
        ground: what is behind is the plain, graded or drawn ground of the scene; white where no words name one.
        place: it is the place of the scene.
        all_right: no answer is no, and there is nothing else in the picture.
    """

    things: bool
    count: bool | None
    colour: bool | None
    relation: bool | None
    ground: bool | None
    place: bool | None
    all_right: bool

    def answers(self) -> dict[str, bool]:
        """The questions that were asked, "all_right" last."""
        names = ("things", "count", "colour", "relation", "ground", "place", "all_right")
        return {name: answer for name in names if (answer := getattr(self, name)) is not None}


def how_seen(scene: Scene, read: ReadScene) -> list[float]:
    """How surely each thing of the scene is seen, 0 to 1."""
    return [max((each.score for each in read.objects if each.name == own.name), default=0.0) for own in scene.objects]


def judge(scene: Scene, read: ReadScene) -> Verdict:
    """Compare what was asked for with what was read. Sizes, sides, styles and parts of people are not judged."""
    there, needed = Counter(thing.name for thing in read.objects), Counter(thing.name for thing in scene.objects)
    asked: dict[str, bool | None] = {
        "count": all(there[name] == number for name, number in needed.items()) if scene.kind == "count" else None,
        "colour": _coloured(scene, read),
        "relation": _related(scene.relation, scene, read) if scene.relation is not None else None,
        "ground": read.ground == scene.ground.name if scene.ground.kind != "place" else None,
        "place": read.place == scene.ground.name if scene.ground.kind == "place" else None,
    }
    things = set(needed) <= set(there)
    right = things and needed.total() == there.total() and all(answer is not False for answer in asked.values())
    return Verdict(things=things, **asked, all_right=right)


def _coloured(scene: Scene, read: ReadScene) -> bool | None:
    needed = Counter((thing.name, thing.colour) for thing in scene.objects if thing.colour is not None)
    if not needed:
        return None
    there = Counter((thing.name, thing.colour) for thing in read.objects)
    if scene.kind == "count":  # whether there are as many is another question
        alike = {thing for thing in there if thing[0] == scene.objects[0].name}
        return alike == set(needed)
    return needed <= there


def _related(relation: Relation, scene: Scene, read: ReadScene) -> bool:
    first, second = (_clearest(read, thing.name) for thing in scene.objects)
    if first is None or second is None:
        return False
    match relation:
        case "in front":
            return _is_before(first, second)
        case "behind":
            return _is_before(second, first)
        case _:
            return relation_holds(relation, _at(first), _at(second))


def _clearest(read: ReadScene, name: str) -> ReadObject | None:
    return max((thing for thing in read.objects if thing.name == name), key=lambda thing: thing.score, default=None)


def _is_before(near: ReadObject, far: ReadObject) -> bool:
    """Their boxes overlap, and the nearer one ends farther down, as it does on any floor."""
    return overlap(near.box, far.box) > 0 and near.box[3] - far.box[3] >= _LOWER


def _at(thing: ReadObject) -> SceneObject:
    return SceneObject(name=thing.name or "", look="", box=thing.box)
