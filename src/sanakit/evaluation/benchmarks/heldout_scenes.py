"""Held-out scenes of the starter's world as pictures to measure, and what a detector still recognises of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sanakit.common.pixels import Picture
from sanakit.evaluation.reports.picture_sets import PictureSet, in_memory
from sanakit.evaluation.reports.report import Measurement, mean_of
from sanakit.worlds.reading.scene_detector import load_scene_detector
from sanakit.worlds.reading.verdict import judge
from sanakit.worlds.scenes.scene import Scene
from sanakit.worlds.scenes.scenes import StarterScenes
from sanakit.worlds.scenes.sprites import load_sprite_bank


@dataclass(frozen=True, slots=True)
class HeldoutScenes:
    """Pictures with their truths."""

    pictures: PictureSet
    truths: Sequence[Scene]
    seed: int

    def recognised(self, copies: Sequence[Picture]) -> list[Measurement]:
        """Of copies of the pictures: the share whose objects are all still named, and of those that also have colours,
        number, places and background right."""
        detector = load_scene_detector()
        answers = [judge(truth, detector.detect(copy)) for copy, truth in zip(copies, self.truths, strict=True)]
        return [
            mean_of("objects named", [answer["object"] for answer in answers], seed=self.seed),
            mean_of("scenes all right", [answer["all right"] for answer in answers], seed=self.seed),
        ]


def heldout_scenes(num: int, *, seed: int, size: int = 128) -> HeldoutScenes:
    """The first ``num`` of a seed, ``size`` pixels each way."""
    scenes = StarterScenes(load_sprite_bank(), "heldout", seed, size=size)
    samples = [scenes.sample(index) for index in range(num)]
    keys = [f"heldout/{seed}/{index}" for index in range(num)]
    pictures = in_memory("starter scenes", keys, [sample.image for sample in samples])
    return HeldoutScenes(pictures, [sample.scene for sample in samples], seed)
