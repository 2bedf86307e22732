"""The reader of the worlds as a judge: prompts back into scenes, and pictures compared with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from sanakit.common.errors import RequestError
from sanakit.scoring.judges.world_judge import WorldJudge
from sanakit.worlds.banks.bank_files import load_bank
from sanakit.worlds.moving.motions import sample_moving_scene
from sanakit.worlds.reading.asked_scene import AskedScenes
from sanakit.worlds.reading.read_scene import ReadObject, ReadScene
from sanakit.worlds.sampling.random_scenes import sample_scene
from sanakit.worlds.scenes.description import OPPOSITES, Ground, Scene
from sanakit.worlds.telling.captions import caption
from sanakit.worlds.words.table import words_of

BANK = load_bank("tiny").subset(["cat", "dog", "star", "boat", "light bulb"])
ASKED = AskedScenes(words_of(BANK))


def facts(scene: Scene) -> Any:
    """What a judge compares; of a relation also which thing is the first."""
    things = sorted((thing.name, thing.colour or "") for thing in scene.objects)
    named = scene.relation and {(scene.objects[0].name, scene.relation)}
    if scene.relation in OPPOSITES:
        named = {*named, (scene.objects[1].name, OPPOSITES[scene.relation])}
    return scene.kind, things, scene.ground, named


def test_captions_in_all_wordings_are_read_back() -> None:
    for index in range(250):
        rng = np.random.default_rng((5, index))
        scene = sample_scene(rng, BANK, "heldout")
        if scene.kind != "person":
            text = caption(scene, rng, BANK, split="heldout")
            read = ASKED.read(text)
            assert read is not None, text
            assert facts(read) == facts(scene), text


def test_what_things_do_is_read_back_in_all_wordings() -> None:
    for index in range(120):
        rng = np.random.default_rng((6, index))
        scene = sample_moving_scene(rng, BANK, "heldout")
        if scene.kind != "person":
            text = caption(scene, rng, BANK, split="heldout")
            read = ASKED.read(text)
            assert read is not None, text
            moving = [sorted((o.name, repr(o.motion)) for o in each.objects) for each in (scene, read)]
            assert moving[0] == moving[1], text


def test_free_text_is_read_for_its_things() -> None:
    read = ASKED.read("Could you draw me 3 big ORANGE cats, please? They should sit on the beach.")
    assert read is not None
    assert facts(read) == ("count", [("cat", "orange")] * 3, Ground(kind="drawn", name="beach"), None)
    read = ASKED.read("a cat, two dogs and a light bulb")
    assert read is not None
    assert [thing.name for thing in read.objects] == ["cat", "dog", "dog", "light bulb"]
    assert ASKED.read("a category of dogma") is None
    assert ASKED.read("") is None
    assert AskedScenes({}).read("a cat") is None


class Sees:
    name, weights_hash, resize_rule = "eye", "abc", "none"

    def __init__(self, *scenes: ReadScene) -> None:
        self.scenes = list(scenes)

    def read(self, picture: Any) -> ReadScene:
        assert picture.shape == (8, 8, 3)
        return self.scenes.pop(0)


def thing(name: str, colour: str | None = None, score: float = 0.5) -> ReadObject:
    return ReadObject(name=name, colour=colour, box=(0.0, 0.0, 1.0, 1.0), score=score)


def test_all_right_then_what_is_right_then_how_sure() -> None:
    seen = [
        ReadScene(objects=(thing("cat", "red", 0.6),), ground="white"),
        ReadScene(objects=(thing("cat", "red", 0.9), thing("dog")), ground="white"),  # and something else
        ReadScene(objects=(thing("cat", "blue", 0.8),), ground="white"),
        ReadScene(objects=(), ground="blue"),
    ]
    judge = WorldJudge(Sees(*seen), words_of(BANK))
    pictures = [Image.new(mode, (8, 8)) for mode in ("RGB", "L", "RGBA", "P")]
    scores = judge(pictures, ["a red cat"] * 4)
    assert scores == [(1.0, 1.0, 0.6), (0.0, 1.0, 0.9), (0.0, pytest.approx(2 / 3), 0.8), (0.0, 0.0, 0.0)]
    assert scores == sorted(scores, reverse=True)
    with pytest.raises(RequestError, match="the judge eye knows no thing of the prompt 'a spaceship'"):
        judge.check("a spaceship")
