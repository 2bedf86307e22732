"""Judging: the truth passes, and every single wrong word fails in its own question."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.reading.judge import judge
from sanakit.worlds.reading.read_scene import ReadObject, ReadScene
from sanakit.worlds.sampling.random_scenes import sample_scene
from sanakit.worlds.scenes.description import Box, Ground, Relation, Scene, SceneObject

LEFT, RIGHT = (0.1, 0.3, 0.4, 0.7), (0.6, 0.3, 0.9, 0.7)


def _scene(*names: str, relation: Relation | None = None, kind: str = "pair", colour: str | None = None) -> Scene:
    boxes = (LEFT, RIGHT, (0.1, 0.75, 0.3, 0.95))
    objects = tuple(
        SceneObject(name=name, look="a", box=box, colour=colour) for name, box in zip(names, boxes, strict=False)
    )
    return Scene(kind=kind, objects=objects, relation=relation)  # type: ignore[arg-type]


def _read(scene: Scene) -> ReadScene:
    objects = tuple(ReadObject(name=o.name, colour=o.colour, box=o.box, score=0.9) for o in scene.objects)
    place = scene.ground.kind == "place"
    return ReadScene(
        objects=objects, ground=None if place else scene.ground.name, place=scene.ground.name if place else None
    )


def test_the_truth_of_any_scene_is_all_right(toy_bank: Bank) -> None:
    for number in range(60):
        scene = sample_scene(np.random.default_rng(number), toy_bank)
        verdict = judge(scene, _read(scene))
        assert verdict.all_right, (scene, verdict)
        assert (verdict.count is None) == (scene.kind != "count")
        assert (verdict.relation is None) == (scene.relation is None)
        assert (verdict.place is None) == (scene.ground.kind != "place") != (verdict.ground is None)


def test_what_is_asked_has_its_own_answer() -> None:
    scene = _scene("cat", "dog", relation="left", colour="red")
    read = _read(scene)
    assert judge(scene, read).answers() == dict.fromkeys(("things", "colour", "relation", "ground", "all_right"), True)
    cat, dog = read.objects
    other = judge(scene, replace(read, objects=(cat, replace(dog, name="cow"))))
    assert not other.things
    assert not other.relation
    assert not other.all_right
    assert other.ground
    assert not judge(scene, replace(read, objects=(cat, replace(dog, colour="blue")))).colour
    assert not judge(replace(scene, relation="right"), read).relation
    assert not judge(scene, replace(read, ground="red")).ground
    assert not judge(replace(scene, ground=Ground(kind="place", name="park")), read).place
    more = judge(scene, replace(read, objects=(*read.objects, replace(cat, name=None))))
    assert not more.all_right
    assert all(answer for name, answer in more.answers().items() if name != "all_right")


def test_several_alike_are_counted() -> None:
    scene = _scene("cat", "cat", "cat", kind="count", colour="red")
    read = _read(scene)
    fewer = judge(scene, replace(read, objects=read.objects[:2]))
    assert fewer.things
    assert fewer.colour
    assert not fewer.count
    assert not fewer.all_right
    mixed = replace(read, objects=(*read.objects[:2], replace(read.objects[2], colour="blue")))
    assert judge(scene, mixed).count
    assert not judge(scene, mixed).colour


@pytest.mark.parametrize(
    ("first", "second", "relation"),
    [
        ((0.5, 0.5, 0.8, 0.95), (0.2, 0.2, 0.7, 0.75), "in front"),
        ((0.2, 0.2, 0.7, 0.75), (0.5, 0.5, 0.8, 0.95), "behind"),
        ((0.4, 0.1, 0.6, 0.4), (0.2, 0.35, 0.8, 0.9), "on"),
        ((0.4, 0.05, 0.6, 0.4), (0.4, 0.6, 0.6, 0.95), "above"),
    ],
)
def test_relations_are_told_by_boxes(first: Box, second: Box, relation: Relation) -> None:
    boxes = {"cat": first, "dog": second}
    read = ReadScene(
        objects=tuple(ReadObject(name=name, colour=None, box=box, score=1.0) for name, box in boxes.items()),
        ground="white",
    )
    scene, swapped = _scene("cat", "dog", relation=relation), _scene("dog", "cat", relation=relation)
    assert judge(scene, read).relation
    assert not judge(swapped, read).relation


@pytest.mark.parametrize(("bottom", "before"), [(0.79, True), (0.78, False), (0.7, False)])
def test_what_ends_clearly_farther_down_stands_nearer(bottom: float, before: bool) -> None:
    boxes = {"cat": (0.5, 0.5, 0.8, bottom), "dog": (0.2, 0.2, 0.7, 0.75)}  # 0.04 are clear
    objects = tuple(ReadObject(name=name, colour=None, box=box, score=1.0) for name, box in boxes.items())
    read = ReadScene(objects=objects, ground="white")
    assert judge(_scene("cat", "dog", relation="in front"), read).relation == before
    assert judge(_scene("dog", "cat", relation="behind"), read).relation == before
    apart = replace(objects[0], box=(0.7, 0.5, 0.9, bottom))
    assert not judge(_scene("cat", "dog", relation="in front"), replace(read, objects=(apart, objects[1]))).relation


def test_the_clearest_of_a_name_is_judged() -> None:
    scene = _scene("cat", "dog", relation="left")
    cat, dog = _read(scene).objects
    unsure = replace(cat, box=(0.9, 0.3, 1.0, 0.7), score=0.5)
    for objects in ((cat, unsure, dog), (unsure, cat, dog)):
        assert judge(scene, ReadScene(objects=objects, ground="white")).relation
    clearer = replace(unsure, score=0.95)
    assert not judge(scene, ReadScene(objects=(cat, clearer, dog), ground="white")).relation
    told = ReadScene(objects=(cat,), ground="white", place=None).to_json()
    assert told == {"objects": ({"name": "cat", "colour": None, "box": cat.box, "score": 0.9},), "ground": "white",
                    "place": None}  # fmt: skip
