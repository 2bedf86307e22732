"""GenEval's questions by degrees, of objects that were written down by hand."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image
from tests.scoring.seen_by_hand import Seen

from sanakit.scoring.detecting.geneval_rules import SeenObject
from sanakit.scoring.rewards.reward import RewardError, asked
from sanakit.scoring.rewards.things_seen import ThingsSeen

BLANK = Image.new("RGB", (100, 100))


def seen(name: str, colour: str | None = None, left: float = 0) -> SeenObject:
    return SeenObject(name=name, confidence=0.9, colour=colour, box=(left, 0, left + 10, 10))


def marks(include: list[dict[str, Any]], *objects: SeenObject) -> tuple[float, float, float]:
    found = ThingsSeen(Seen(*objects))([BLANK], ["x"], [{"include": include}])
    return tuple(found.scores[part][0] for part in ("score", "strict", "correct"))  # type: ignore[return-value]


CUPS = {"class": "cup", "count": 4}
RED = {"class": "cup", "count": 2, "color": "red"}
BESIDE = [{"class": "dog", "count": 1}, {"class": "cat", "count": 1, "position": ["left of", 0]}]


@pytest.mark.parametrize(
    ("include", "objects", "expected"),
    [
        ([CUPS], [seen("cup")] * 4, (1, 1, 1)),
        ([CUPS], [seen("cup")] * 3, (0.75, 0, 0)),
        ([CUPS], [seen("cup")] * 5, (0.75, 0, 1)),  # GenEval itself asks for as many or more
        ([CUPS], [seen("cup")] * 16, (0, 0, 1)),
        ([CUPS], [], (0, 0, 0)),
        ([RED], [seen("cup", "red"), seen("cup", "blue")], ((1 + 0.5) / 2, 0, 0)),
        ([RED], [seen("cup", "red")] * 3, ((0.5 + 0) / 2, 0, 1)),  # colours count where the number is right
        (BESIDE, [seen("dog", left=50), seen("cat")], (1, 1, 1)),
        (BESIDE, [seen("dog"), seen("cat", left=50)], (2 / 3, 0, 0)),
        (BESIDE, [seen("dog", left=50), seen("dog", left=70), seen("cat")], (1 / 3, 0, 1)),
    ],
)  # fmt: skip
def test_degrees(include: list[dict[str, Any]], objects: list[SeenObject], expected: tuple[float, ...]) -> None:
    assert marks(include, *objects) == pytest.approx(expected)


def test_facts_and_prompts_of_which_nothing_is_known() -> None:
    reward = ThingsSeen(Seen(seen("cup")))
    found = reward([BLANK, BLANK], ["x", "y"], [{"include": [CUPS]}, {}])
    assert found.facts == [{"seen": {"cup": 1}, "wrong": "expected cup>=4, found 1"}, {}]
    assert found.scores["score"] == [0.25, None]
    assert [reward.fits("x", known) for known in ({"include": [CUPS]}, {}, {"include": []})] == [True, False, False]


def test_broken_facts_are_a_sentence() -> None:
    reward = ThingsSeen(Seen())
    for include in (
        [{"class": "cup"}],
        [{"class": "cup", "count": 0}],
        [{"class": "a", "count": 1, "position": ["x", 3]}],
    ):
        with pytest.raises(RewardError, match="geneval failed on pictures that begin with 'x'"):
            asked(reward, "geneval", [BLANK], ["x"], [{"include": include}], [0])
