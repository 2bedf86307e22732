"""The report of a perfect generator, of one that ignores its prompts, and of broken ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
import torch

from sanakit.common.errors import ConfigError
from sanakit.common.pixels import Picture
from sanakit.evaluation.benchmarks.starter import evaluate_starter, starter_json
from sanakit.evaluation.reports.report import Report, report_table
from sanakit.worlds.scenes.prompts import heldout_prompts, prompt_kind, seen_prompts
from sanakit.worlds.scenes.render import render
from sanakit.worlds.scenes.scene import Scene, SceneObject
from sanakit.worlds.scenes.sprites import load_sprite_bank

NUM, SEED = 20, 5
SETTINGS = {"model": "truth", "steps": 20, "guidance_scale": 4.5, "dtype": "float32"}


@cache
def truths() -> dict[str, Scene]:
    return dict(heldout_prompts(NUM, SEED) + seen_prompts(NUM, SEED))


def true_pictures(prompts: Sequence[str], seeds: Sequence[int]) -> list[Picture]:
    return [render(truths()[prompt], load_sprite_bank()) for prompt in prompts]


def the_same_picture(prompts: Sequence[str], seeds: Sequence[int]) -> list[Picture]:
    scene = Scene(kind="single", objects=(SceneObject(name="key", box=(0.2, 0.2, 0.8, 0.8)),))
    return [render(scene, load_sprite_bank())] * len(prompts)


def report_of(generate: object, **options: object) -> Report:
    return evaluate_starter(generate, num_prompts=NUM, seed=SEED, settings=SETTINGS, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def perfect() -> Report:
    return report_of(true_pictures)


def test_a_perfect_generator_reaches_the_ceiling(perfect: Report) -> None:
    for split in ("heldout", "seen"):
        scores = perfect.details[split]["scores"]
        assert scores == perfect.details[split]["ceilings"]
        assert all(score["mean"] >= 0.95 for score in scores.values())


def test_a_generator_that_ignores_its_prompts_scores_low() -> None:
    report = report_of(the_same_picture)
    assert report["all right, held-out"].value <= 0.1
    assert all(report[f"{kind}, held-out"].value <= 0.25 for kind in ("object", "count", "colour", "position"))
    assert report["all right, ceiling"].value >= 0.95


def test_kinds_come_evenly_and_splits_differ(perfect: Report) -> None:
    numbers = {check: score["num_samples"] for check, score in perfect.details["heldout"]["scores"].items()}
    assert numbers == {"object": 4, "count": 4, "colour": 4, "position": 4, "background": 4, "all right": 20}
    for (_, scene), picture in zip(seen_prompts(NUM, SEED), perfect.details["seen"]["pictures"], strict=True):
        assert not scene.heldout_combinations()
        assert picture["kind"] == prompt_kind(scene)


def test_two_runs_are_equal(perfect: Report) -> None:
    assert report_of(true_pictures, batch_size=3) == perfect


def test_every_picture_has_its_own_seed_and_is_counted() -> None:
    seeds_seen: list[int] = []
    progress: list[tuple[int, int]] = []

    def generate(prompts: Sequence[str], seeds: Sequence[int]) -> list[Picture]:
        seeds_seen.extend(seeds)
        return [np.full((128, 128, 3), 255, np.uint8) for _ in prompts]

    report = report_of(generate, batch_size=8, on_progress=lambda done, total, _: progress.append((done, total)))
    assert seeds_seen == [*range(SEED, SEED + NUM)] * 2
    assert progress == [(8, 40), (16, 40), (20, 40), (28, 40), (36, 40), (40, 40)]
    assert report["object, held-out"].value == 0


def test_json_and_table_tell_how_the_numbers_came(perfect: Report) -> None:
    values = json.loads(json.dumps(starter_json(perfect)))
    assert values["settings"] == SETTINGS
    assert values["seed"] == SEED
    assert "bootstrap" in values["protocol"]
    assert "128 x 128" in values["resize_rule"]
    assert {"sanakit", "torch", "numpy", "python"} <= values["versions"].keys()
    assert values["heldout"]["pictures"][0]["answers"].keys() == values["heldout"]["scores"].keys()
    table = report_table(perfect)
    assert "steps 20" in table
    assert "seed 5" in table
    assert "resize rule: none" in table
    assert f"torch {torch.__version__}".split("+")[0] in table
    for check in values["heldout"]["scores"]:
        assert check in table


def test_too_few_prompts_are_refused() -> None:
    with pytest.raises(ConfigError, match="num_prompts=4"):
        evaluate_starter(true_pictures, num_prompts=4, seed=0, settings={})


def test_a_generator_that_drops_a_picture_is_refused() -> None:
    with pytest.raises(ConfigError, match="7 pictures for 8"):
        report_of(lambda prompts, seeds: true_pictures(prompts, seeds)[1:])
