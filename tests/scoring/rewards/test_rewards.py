"""Rewards: what they say is checked, weighed and told by part."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sanakit.common.errors import ConfigError
from sanakit.scoring.rewards.load import load_reward
from sanakit.scoring.rewards.panel import Panel, RewardConfig, means
from sanakit.scoring.rewards.reward import Clip, Rewarded, RewardError, asked
from sanakit.scoring.rewards.world_motion import WorldMotion
from sanakit.scoring.rewards.world_reward import WorldReward
from sanakit.worlds.reading.read_scene import ReadObject, ReadScene
from sanakit.worlds.scenes.description import Ground, Scene, SceneObject

PICTURES = [Image.fromarray(np.full((8, 8, 3), level, np.uint8)) for level in (0, 100, 200)]
PROMPTS, KNOWN, SEEDS = ["a", "b", "c"], [{}, {}, {}], [5, 6, 7]
BOX = (0.1, 0.1, 0.5, 0.5)


def brightness(pictures, prompts, metadata) -> list[float]:
    return [float(np.asarray(picture).mean()) / 255 for picture in pictures]


def parts(pictures, prompts, metadata) -> Rewarded:
    values = brightness(pictures, prompts, metadata)
    return Rewarded({"light": values, "asked": [None, *values[1:]]}, [{"level": value} for value in values])


def panel(*configs: RewardConfig, **rewards: Any) -> Panel:
    return Panel.of(configs, lambda config: rewards[config.name])


def test_numbers_are_weighed_by_part_and_cut() -> None:
    both = panel(RewardConfig(name="parts", weight=2.0, parts={"asked": 1.0}), RewardConfig(name="plain", most=0.5),
                 parts=parts, plain=brightness)  # fmt: skip
    looked = both.look(PICTURES, PROMPTS, KNOWN, SEEDS)
    marks = [own for own, _ in looked]
    dim, light = 100 / 255, 200 / 255
    assert marks[0] == {"parts.light": 0.0, "parts.asked": None, "plain.score": 0.0}
    assert looked[1][1] == {"parts": {"level": dim}}
    assert both.totals(marks) == pytest.approx([0.0, 3 * dim, 2 * light + 0.5])
    assert means(marks)["parts.asked"] == pytest.approx((dim + light) / 2)  # of those whose prompt asks


def test_a_reward_is_divided_by_its_deviation() -> None:
    scaled = panel(RewardConfig(name="one", normalise=True), one=brightness)
    marks = [own for own, _ in scaled.look(PICTURES, PROMPTS, KNOWN, SEEDS)]
    assert np.std(scaled.totals(marks)) == pytest.approx(1.0)
    assert scaled.totals(marks[:1]) == [0.0]  # one alone has none
    with pytest.raises(ConfigError, match="reward one has no part size; it has score"):
        panel(RewardConfig(name="one", parts={"size": 1.0}), one=brightness).totals(marks)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ([0.1, math.nan, 0.2], r"bad gave nan \(score\) for 'b' \(seed 6\)"),
        ([0.1, 0.2, math.inf], r"bad gave inf \(score\) for 'c' \(seed 7\)"),
        ([0.1], r"bad gave 1 numbers \(score\) for 3 pictures that begin with 'a' \(seed 5\)"),
        (Rewarded({"x": [1.0, 2.0, 3.0]}, [{}]), "facts of 1 pictures, and 3"),
        (None, r"bad failed on pictures that begin with 'a' \(seed 5\)"),
        (["much"] * 3, "bad failed on pictures"),
    ],
)
def test_what_is_no_reward_names_prompt_and_seed(said: Any, words: str) -> None:
    with pytest.raises(RewardError, match=words):
        asked(lambda *given: said, "bad", PICTURES, PROMPTS, KNOWN, SEEDS)


def test_configs_that_cannot_work() -> None:
    for configs, words in (
        ([], "must be one or more"),
        ([RewardConfig(name="one"), RewardConfig(name="one")], "each with a name of its own"),
        ([RewardConfig(name="one", weight=0.0)], "all weights are 0"),
    ):
        with pytest.raises(ConfigError, match=words):
            panel(*configs, one=brightness)
    with pytest.raises(ConfigError, match=r"weight=nan"):
        RewardConfig(name="one", weight=math.nan)
    with pytest.raises(ConfigError, match=r"least=2.0 must be below"):
        RewardConfig(name="one", least=2.0, most=1.0)


def test_a_function_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def first(pictures, prompts, metadata):\n    return [1.0] * len(pictures)\n")
    assert load_reward(f"{tmp_path / 'mine.py'}:first")(PICTURES, PROMPTS, KNOWN) == [1.0] * 3
    for name, words in (
        (f"{tmp_path / 'mine.py'}:second", "second"),
        ("no_such_module:f", "no_such_module"),
        ("math:pi", "no function"),
    ):
        with pytest.raises(ConfigError, match=words):
            load_reward(name)


def test_a_jpeg_that_is_smaller_is_better() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    flat, rich = load_reward("jpeg")([PICTURES[0].resize((64, 64)), noise], ["a", "b"], [{}, {}])  # type: ignore[misc]
    assert rich < flat < 0


class Reading:
    """Reads what it is told to."""

    name, weights_hash, resize_rule = "told", "", ""

    def __init__(self, scene: ReadScene) -> None:
        self.scene = scene

    def read(self, picture: NDArray[np.uint8]) -> ReadScene:
        return self.scene


@pytest.fixture
def words() -> Mapping[str, Any]:
    return {"things": [{"name": "cup"}, {"name": "boat"}], "colours": ["red", "blue"]}


def test_every_question_of_a_scene_is_a_part(words: Mapping[str, Any]) -> None:
    seen = ReadScene(objects=(ReadObject(name="cup", colour="blue", box=BOX, score=0.7),), ground="white")
    reward = WorldReward(Reading(seen), words)
    things = (SceneObject(name="cup", look="", colour="red", box=BOX),)
    exact = {"scene": Scene(kind="single", objects=things, ground=Ground()).to_json()}
    found = reward(PICTURES, ["a red cup", "a boat", "anything"], [{}, {}, exact])
    assert found.scores["things"] == [1.0, 0.0, 1.0]
    assert found.scores["colour"] == [0.0, None, 0.0]
    assert found.scores["count"] == found.scores["place"] == [None] * 3
    assert found.scores["ground"] == [1.0] * 3
    assert found.scores["all_right"] == [0.0] * 3
    assert found.scores["seen"] == [0.7, 0.0, 0.7]
    assert found.facts[0] == {"read": ["blue cup"]}


def test_a_prompt_that_asks_for_nothing_has_no_number() -> None:
    found = asked(lambda *_: [None, 1, np.float32(0.5)], "plain", PICTURES, PROMPTS, KNOWN, SEEDS)
    assert found.scores == {"score": [None, 1.0, 0.5]}


def test_motion_is_a_part_of_clips(words: Mapping[str, Any]) -> None:
    class Following:
        name, weights_hash, resize_rule = "eye", "abc", "none"

        def read(self, picture: Any) -> ReadScene:
            left = float(picture[0, 0, 0]) / 255
            return ReadScene(
                objects=(ReadObject(name="cup", colour="red", box=(left, 0.1, left + 0.2, 0.3), score=0.9),),
                ground="white",
            )

    moving = np.arange(0, 90, 10, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    clips = [Clip(moving, 8.0), Clip(moving[::-1], 8.0), Clip(moving[:1].repeat(9, 0), 8.0)]
    found = WorldMotion(Following(), words)(clips, ["a red cup slowly moving to the right"] * 3, KNOWN)
    assert found.scores["motion"] == [1.0, 0.0, 0.0]
    assert found.scores["speed"] == [0.0, None, None]  # a third of the canvas in a second is quick
    assert found.scores["things"] == found.scores["colour"] == [1.0] * 3
    assert found.facts[0] == {"read": ["red cup quickly moving to the right"]}


def test_prompts_that_a_reward_knows_nothing_of(words: Mapping[str, Any]) -> None:
    reward = WorldReward(Reading(ReadScene(objects=())), words)
    both = panel(RewardConfig(name="reader"), RewardConfig(name="plain"), reader=reward, plain=brightness)
    assert both.misfits([("a red cup", {}), ("a zeppelin", {})]) == {"reader": ["a zeppelin"]}
    marks = both.look(PICTURES[:1], ["a zeppelin"], [{}], [1])[0][0]
    assert marks["reader.things"] is None
    assert both.totals([marks]) == [0.0]
