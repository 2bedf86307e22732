"""Each question by hand-made readings."""

from __future__ import annotations

import pytest

from sanakit.worlds.reading.scene_detector import DetectedObject, DetectedScene
from sanakit.worlds.reading.verdict import judge
from sanakit.worlds.scenes.scene import Box, Relation, Scene, SceneObject

LEFT: Box = (0.1, 0.3, 0.4, 0.7)
RIGHT: Box = (0.6, 0.3, 0.9, 0.7)


def reading(*objects: tuple[str, str | None, Box], background: str | None = "white") -> DetectedScene:
    found = tuple(DetectedObject(name=name, colour=colour, box=box, score=0.9) for name, colour, box in objects)
    return DetectedScene(objects=found, background=background)


def pair(relation: Relation | None) -> Scene:
    objects = (SceneObject(name="cat", box=LEFT), SceneObject(name="dog", box=RIGHT))
    return Scene(kind="pair", objects=objects, relation=relation)


def test_a_faithful_picture_is_all_right() -> None:
    answers = judge(pair("left"), reading(("cat", "orange", LEFT), ("dog", "orange", RIGHT)))
    assert all(answers.values())
    assert set(answers) == {"object", "count", "colour", "position", "background", "all right"}


@pytest.mark.parametrize("relation", ["right", "above", "below"])
def test_other_relations_do_not_hold(relation: Relation) -> None:
    answers = judge(pair(relation), reading(("cat", None, LEFT), ("dog", None, RIGHT)))
    assert answers["object"]
    assert not answers["position"]
    assert not answers["all right"]


def test_a_relation_needs_both_objects() -> None:
    answers = judge(pair("left"), reading(("cat", None, LEFT), ("cat", None, RIGHT)))
    assert not answers["object"]
    assert not answers["position"]


def test_one_more_of_the_name_is_a_wrong_count() -> None:
    asked = Scene(kind="count", objects=(SceneObject(name="star", box=LEFT), SceneObject(name="star", box=RIGHT)))
    star = ("star", "yellow", LEFT)
    assert judge(asked, reading(star, star))["count"]
    assert not judge(asked, reading(star, star, star))["count"]
    assert not judge(asked, reading(star))["count"]


def test_something_else_in_the_picture_is_not_all_right() -> None:
    asked = Scene(kind="single", objects=(SceneObject(name="cat", box=LEFT),))
    answers = judge(asked, reading(("cat", None, LEFT), ("dog", None, RIGHT)))
    assert answers["object"]
    assert answers["count"]
    assert not answers["all right"]


def test_the_colour_must_be_on_the_named_object() -> None:
    asked = Scene(kind="single", objects=(SceneObject(name="cat", colour="blue", box=LEFT),))
    assert judge(asked, reading(("cat", "blue", LEFT)))["colour"]
    assert not judge(asked, reading(("cat", "red", LEFT), ("dog", "blue", RIGHT)))["colour"]


@pytest.mark.parametrize("background", ["blue", None])
def test_an_unasked_background_must_be_white(background: str | None) -> None:
    asked = Scene(kind="single", objects=(SceneObject(name="cat", box=LEFT),))
    assert not judge(asked, reading(("cat", None, LEFT), background=background))["background"]
