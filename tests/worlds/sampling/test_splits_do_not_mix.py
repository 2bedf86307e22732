"""What is trained on shows no held-out pairing, and what is reported on shows nothing else: every door of both."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sanakit.evaluation.benchmarks import dual_encoder_score
from sanakit.evaluation.worlds.heldout_scenes import heldout_scenes
from sanakit.evaluation.worlds.reading import reading_report
from sanakit.features import contrasts
from sanakit.features.configs import ScenesData
from sanakit.features.scenes import Paintings
from sanakit.models.recogniser import RecogniserConfig
from sanakit.training.recipes.dual_encoder.families import scene_family
from sanakit.training.recipes.recogniser import features as recogniser_features
from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.banks.bank_files import load_bank
from sanakit.worlds.reading.read_scene import ReadScene
from sanakit.worlds.sampling import random_scenes
from sanakit.worlds.sampling.holdout import belongs_to
from sanakit.worlds.scenes.description import Scene
from sanakit.worlds.world_scenes import WorldScenes

BLIND: Any = SimpleNamespace(read=lambda picture: ReadScene(objects=()))


class EnoughError(Exception):
    """Some scenes were taken."""


def examples(bank: Bank) -> None:
    """The recogniser's, as far as its first six scenes."""

    def example(scenes: WorldScenes, index: int, *how: Any) -> None:
        scenes.truth(index)
        if index == 5:
            raise EnoughError

    words = RecogniserConfig(
        names=("cat",), colours=("red",), ground_colours=("white",), drawn_grounds=("night",), places=("park",)
    )
    config = recogniser_features.ExamplesConfig(bank="tiny")
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        patch.setattr(recogniser_features, "_example", example)
        patch.setattr(recogniser_features, "Looking", lambda: SimpleNamespace(to=lambda device: None))
        with pytest.raises(EnoughError):
            recogniser_features.cache_examples(config, words, [bank], Path(folder), "cpu")


TRAINING: dict[str, Callable[[Bank], object]] = {
    "transformer and autoencoder": lambda bank: [Paintings(bank, 0).caption(index) for index in range(6)],
    "dual encoder": lambda bank: scene_family(np.random.default_rng(0), bank),
    "recogniser": examples,
}
REPORTS: dict[str, Callable[[Bank], object]] = {
    "reconstruction": lambda bank: heldout_scenes(bank, 6, seed=0, size=32),
    "reader": lambda bank: reading_report(BLIND, bank, num_scenes=1, seed=0),
    "dual encoder": lambda bank: list(dual_encoder_score.heldout_pairs("colour", bank, 2, seed=0)),
    "retrieval": lambda bank: dual_encoder_score._different_scenes(np.random.default_rng(0), bank),
    "captions while training": lambda bank: list(
        islice(contrasts._scene_contrasts(ScenesData(bank="tiny", num_captions=8), 32), 4)
    ),
}


@pytest.mark.parametrize(
    ("split", "door"),
    [*(("train", door) for door in TRAINING.values()), *(("heldout", door) for door in REPORTS.values())],
    ids=[*(f"trains {name}" for name in TRAINING), *(f"reports {name}" for name in REPORTS)],
)
def test_scenes_of_training_and_of_reports_never_mix(
    split: str, door: Callable[[Bank], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def of_the_right_split(scene: Scene, wanted: Any) -> bool:
        is_there = belongs_to(scene, wanted)
        if is_there:
            asked.append(belongs_to(scene, split))  # type: ignore[arg-type]
        return is_there

    monkeypatch.setattr(random_scenes, "belongs_to", of_the_right_split)
    door(load_bank("tiny"))
    assert asked
    assert all(asked)
