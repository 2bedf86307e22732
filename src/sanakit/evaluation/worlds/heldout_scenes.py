"""Held-out scenes of a bank as pictures to measure, and what a reader still recognises of copies of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sanakit.common.pixels import Picture
from sanakit.evaluation.reports.picture_sets import PictureSet, in_memory
from sanakit.evaluation.reports.report import Measurement, mean_of
from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.reading.judge import judge
from sanakit.worlds.reading.read_scene import Reader
from sanakit.worlds.scenes.description import Scene
from sanakit.worlds.world_scenes import WorldScenes


@dataclass(frozen=True, slots=True)
class HeldoutScenes:
    """Pictures with their truths."""

    pictures: PictureSet
    truths: Sequence[Scene]
    seed: int

    def recognised(self, copies: Sequence[Picture], reader: Reader) -> list[Measurement]:
        """Of copies of the pictures: the share whose things are all still named, and of those that also have colours,
        number, places and ground right, and nothing else in them."""
        verdicts = [judge(truth, reader.read(copy)) for copy, truth in zip(copies, self.truths, strict=True)]
        return [
            mean_of("things named", [verdict.things for verdict in verdicts], seed=self.seed),
            mean_of("scenes all right", [verdict.all_right for verdict in verdicts], seed=self.seed),
        ]


def heldout_scenes(bank: Bank, num: int, *, seed: int, size: int = 128) -> HeldoutScenes:
    """The first ``num`` of a seed, ``size`` pixels each way."""
    scenes = WorldScenes(bank, "heldout", seed, size=size)
    samples = [scenes.sample(index) for index in range(num)]
    keys = [f"heldout/{seed}/{index}" for index in range(num)]
    pictures = in_memory(f"scenes of the bank {bank.name}", keys, [sample.image for sample in samples])
    return HeldoutScenes(pictures, [sample.scene for sample in samples], seed)
