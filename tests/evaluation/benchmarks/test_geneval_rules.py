"""GenEval's verdicts on true pictures, and on seen objects written down by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sanakit.evaluation.benchmarks.geneval_rules import SeenObject, StarterObjectDetector, judge_picture, relations
from sanakit.worlds.scenes.placing import place_count, place_pair
from sanakit.worlds.scenes.render import render
from sanakit.worlds.scenes.scene import Scene
from sanakit.worlds.scenes.sprites import load_sprite_bank

BLANK = Image.new("RGB", (100, 100))


class Seen:
    """A detector that reports what it was given."""

    name = weights_hash = resize_rule = protocol = "by hand"

    def __init__(self, *objects: SeenObject) -> None:
        self.objects = objects

    def detect(self, image: Image.Image, *, counting: bool) -> list[SeenObject]:
        return list(self.objects)

    def colours(self, image: Image.Image, objects: Sequence[SeenObject]) -> list[str | None]:
        return [thing.colour for thing in objects]


def seen(name: str, confidence: float = 0.9, colour: str | None = None, left: float = 0, top: float = 0) -> SeenObject:
    return SeenObject(name=name, confidence=confidence, colour=colour, box=(left, top, left + 10, top + 10))


def correct(metadata: dict[str, Any], *objects: SeenObject) -> bool:
    return judge_picture(BLANK, {"tag": "any", **metadata}, Seen(*objects)).correct


def test_more_than_asked_for_is_right_unless_excluded() -> None:
    two = {"include": [{"class": "cup", "count": 2}]}
    assert correct(two, seen("cup"), seen("cup"), seen("cup"))
    assert not correct(two, seen("cup"))
    assert not correct(two | {"exclude": [{"class": "cup", "count": 3}]}, seen("cup"), seen("cup"), seen("cup"))


def test_colour_is_asked_of_the_most_confident_object() -> None:
    red = {"include": [{"class": "cup", "count": 1, "color": "red"}]}
    assert correct(red, seen("cup", 0.5, "blue"), seen("cup", 0.8, "red"))
    assert not correct(red, seen("cup", 0.9, "blue"), seen("cup", 0.8, "red"))


def test_position_needs_its_target() -> None:
    left = {"include": [{"class": "dog", "count": 1}, {"class": "cat", "count": 1, "position": ["left of", 0]}]}
    assert correct(left, seen("dog", left=50), seen("cat", left=0))
    assert not correct(left, seen("dog", left=0), seen("cat", left=50))
    verdict = judge_picture(BLANK, {"tag": "position", **left}, Seen(seen("cat")))
    assert verdict.reason == "expected dog>=1, found 0; no target for cat to be left of"


@pytest.mark.parametrize(
    ("offset", "expected"),
    [
        ((30, 0), {"right of"}),
        ((0, -30), {"above"}),
        ((-30, 30), {"left of", "below"}),
        ((1.9, 0), set()),
        ((30, 8), {"right of"}),
    ],
)
def test_relations(offset: tuple[float, float], expected: set[str]) -> None:
    x, y = offset
    assert relations((x, y, x + 10, y + 10), (0, 0, 10, 10)) == expected


def test_the_starters_detector_answers_on_true_pictures() -> None:
    rng, bank, detector = np.random.default_rng(0), load_sprite_bank(), StarterObjectDetector()

    def picture(scene: Scene) -> Image.Image:
        return Image.fromarray(render(scene, bank))

    three = picture(place_count(("star", "blue"), 3, rng))
    pair = picture(place_pair(("car", "red"), ("tree", None), rng, relation="left"))
    counting = {"include": [{"class": "star", "count": 3}], "exclude": [{"class": "star", "count": 4}]}
    assert judge_picture(three, {"tag": "counting", **counting}, detector).correct
    red = {"tag": "colors", "include": [{"class": "star", "count": 1, "color": "red"}]}
    assert not judge_picture(three, red, detector).correct
    for relation, right in (("left of", True), ("right of", False)):
        include = [{"class": "tree", "count": 1}, {"class": "car", "count": 1, "position": [relation, 0]}]
        assert judge_picture(pair, {"tag": "position", "include": include}, detector).correct == right
