"""A reader that knows the truth of every picture of some questions, and a generator that draws it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from sanakit.common.pixels import Picture
from sanakit.evaluation.worlds.questions import Asked, Question, Together
from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.drawing.compose import compose
from sanakit.worlds.reading.read_scene import ReadObject, ReadScene
from sanakit.worlds.scenes.description import Scene
from sanakit.worlds.telling.wrong_captions import shown_colour

SIZE = 32


def asked_of(questions: Iterable[Question | Together]) -> list[Asked]:
    return [asked for each in questions if isinstance(each, Question) for asked in each.asked]


class TruthReader:
    """Pictures by their bytes; of any other it sees nothing."""

    name = weights_hash = resize_rule = "by heart"

    def __init__(self, asked: Sequence[Asked], bank: Bank) -> None:
        scenes = [scene for each in asked for scene in (each.truth, each.wrong) if scene is not None]
        self._known = {_key(compose(scene, bank, SIZE)): _read(scene, bank) for scene in scenes}

    def read(self, picture: NDArray[np.uint8]) -> ReadScene:
        return self._known.get(_key(picture), ReadScene(objects=()))


class TruthPainter:
    """Draws what the prompt asks for, of the scenes of a prompt that of the seed; notes what it was asked for."""

    def __init__(self, asked: Sequence[Asked], bank: Bank) -> None:
        self._scenes = {(each.prompt, each.seed): each for each in asked}
        self._bank, self.calls = bank, list[tuple[str, int]]()

    def __call__(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Picture]:
        self.calls += zip(prompts, seeds, strict=True)
        return [self.picture(self._scenes[each]) for each in zip(prompts, seeds, strict=True)]

    def picture(self, asked: Asked) -> Picture:
        return compose(asked.truth, self._bank, SIZE)


def _read(scene: Scene, bank: Bank) -> ReadScene:
    things = [
        ReadObject(name=thing.name, colour=shown_colour(thing, bank), box=thing.box, score=1.0)
        for thing in scene.objects
    ]
    if scene.ground.kind == "place":
        return ReadScene(objects=tuple(things), place=scene.ground.name)
    return ReadScene(objects=tuple(things), ground=scene.ground.name)


def _key(picture: NDArray[np.uint8]) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(picture).tobytes()).digest()
