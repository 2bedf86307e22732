"""GenEval's verdicts on true pictures, and on seen objects written down by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.scoring.seen_by_hand import Seen

from sanakit.evaluation.benchmarks.world_detector import WorldDetector
from sanakit.scoring.detecting.geneval_rules import SeenObject, judge_picture, relations
from sanakit.worlds.reading.read_scene import ReadObject, ReadScene

BLANK = Image.new("RGB", (100, 100))


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


def test_a_reader_of_the_worlds_is_a_detector() -> None:
    things = [
        ReadObject(name=name, colour="red", box=(left, 0.2, left + 0.2, 0.4), score=0.9)
        for name, left in (("car", 0.1), ("tree", 0.6), (None, 0.3))
    ]

    class Reading:
        name = weights_hash = resize_rule = "by hand"

        def read(self, picture: NDArray[np.uint8]) -> ReadScene:
            assert picture.shape == (100, 100, 3)  # what is not square stands on white
            return ReadScene(objects=tuple(things))

    detector = WorldDetector(Reading())
    assert [thing.name for thing in detector.detect(Image.new("RGB", (100, 60)), counting=False)] == ["car", "tree"]
    for relation, right in (("left of", True), ("right of", False)):
        include = [{"class": "tree", "count": 1}, {"class": "car", "count": 1, "position": [relation, 0]}]
        assert judge_picture(BLANK, {"tag": "position", "include": include}, detector).correct == right
    red = {"tag": "colors", "include": [{"class": "car", "count": 1, "color": "red"}]}
    assert judge_picture(BLANK, red, detector).correct


def test_as_many_as_are_looked_at_and_the_surest_first() -> None:
    cups = [seen("cup", 0.5, "blue") for _ in range(16)]
    many = {"include": [{"class": "cup", "count": 16}]}
    assert correct(many, *cups)
    assert judge_picture(
        BLANK, {"tag": "any", "include": [{"class": "cup", "count": 17}]}, Seen(*cups, *cups)
    ).reason == ("expected cup>=17, found 16")
    red = {"tag": "any", "include": [{"class": "cup", "count": 1, "color": "red"}]}
    assert judge_picture(BLANK, red, Seen(*cups, seen("cup", 0.6, "red"))).correct
    assert judge_picture(BLANK, red, Seen(*cups, seen("cup", 0.4, "red"))).reason == "expected red cup>=1, found blue"
    few = {"tag": "any", "exclude": [{"class": "cup", "count": 2}]}
    assert judge_picture(BLANK, few, Seen(cups[0])).correct
    assert judge_picture(BLANK, few, Seen(*cups[:2])).reason == "expected cup<2, found 2"


def test_the_counting_task_asks_for_its_own_threshold() -> None:
    asked: list[bool] = []

    class Asked(Seen):
        def detect(self, image: Image.Image, *, counting: bool) -> list[SeenObject]:
            asked.append(counting)
            return []

    for tag in ("counting", "colors"):
        judge_picture(BLANK, {"tag": tag}, Asked())
    assert asked == [True, False]


def test_a_wrong_position_says_where_it_is() -> None:
    left = {
        "tag": "any",
        "include": [{"class": "dog", "count": 1}, {"class": "cat", "count": 1, "position": ["left of", 0]}],
    }
    verdicts = [
        judge_picture(BLANK, left, Seen(seen("dog"), seen("cat", left=x, top=y))) for x, y in ((30, 30), (1, 0))
    ]
    assert [verdict.reason for verdict in verdicts] == [
        "expected cat left of target, found below and right of", "expected cat left of target, found neither",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("offset", "expected"),
    [((2.0, 0), set()), ((2.5, 0), set()), ((4.1, 0), {"right of"}), ((-4.1, 0), {"left of"}), ((0, 4.1), {"below"})],
)
def test_how_far_beyond_is_beside(offset: tuple[float, float], expected: set[str]) -> None:
    """A tenth of the summed sides of 20 is taken off; what is left must be more than half of the whole way."""
    x, y = offset
    assert relations((x, y, x + 10, y + 10), (0, 0, 10, 10)) == expected
