"""Measuring readers: one that knows the truth is right everywhere and never fooled, one that sees nothing never is."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from numpy.typing import NDArray

from sanakit.common.errors import ConfigError
from sanakit.evaluation.worlds.reading import reading_report
from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.banks.bank_files import load_bank
from sanakit.worlds.reading.read_scene import ReadObject, ReadScene
from sanakit.worlds.scenes.description import Scene
from sanakit.worlds.telling.wrong_captions import shown_colour
from sanakit.worlds.world_scenes import WorldScenes

NUM = 12


class Knowing:
    """Knows the first held-out scenes by their pictures; of any other it says what it saw last."""

    def __init__(self, bank: Bank) -> None:
        samples = [WorldScenes(bank, "heldout", 0).sample(index) for index in range(NUM)]
        self._known = {_key(sample.image): _truth(sample.scene, bank) for sample in samples}

    def read(self, picture: NDArray[np.uint8]) -> ReadScene:
        return self._known.get(_key(picture), ReadScene(objects=()))


def _key(picture: NDArray[np.uint8]) -> str:
    return hashlib.sha256(np.ascontiguousarray(picture).tobytes()).hexdigest()


def _truth(scene: Scene, bank: Bank) -> ReadScene:
    objects = tuple(
        ReadObject(name=thing.name, colour=shown_colour(thing, bank), box=thing.box, score=1.0)
        for thing in scene.objects
    )
    place = scene.ground.kind == "place"
    return ReadScene(
        objects=objects, ground=None if place else scene.ground.name, place=scene.ground.name if place else None
    )


def test_a_reader_that_knows_is_right_and_not_fooled() -> None:
    bank = load_bank("tiny")
    report = reading_report(Knowing(bank), bank, num_scenes=NUM, seed=0)
    for each in report.measurements:
        assert each.value == (0.0 if each.name.startswith(("wrong", "spoiled")) else 1.0), each
        assert each.better == ("lower" if each.name.startswith(("wrong", "spoiled")) else "higher")
    assert {"found", "named", "all right", "wrong thing"} <= {each.name for each in report.measurements}
    assert report.details["confusion"] == []
    with pytest.raises(ConfigError, match="at least 1"):
        reading_report(Knowing(bank), bank, num_scenes=0, seed=0)
