"""Stages as plain values: when they end, their learning rate, and configs that cannot work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from sanakit.common.errors import ConfigError
from sanakit.training.run.run_config import CheckpointConfig, LogConfig, RunConfig, SampleConfig
from sanakit.training.run.run_state import RunState
from sanakit.training.run.stage import StageConfig, microbatch_seed, rate_factor, stage_progress


def test_a_stage_ends_with_the_first_of_its_ends(toy: ModuleType) -> None:
    config = replace(toy.STAGE, steps=10, epochs=2.0, minutes=1.0)
    assert stage_progress(config, RunState(stage_step=5, position=3, stage_seconds=6.0), 5) == 0.5
    assert stage_progress(config, RunState(stage_step=1, position=9, stage_seconds=6.0), 5) == 0.9
    assert stage_progress(config, RunState(stage_step=1, position=1, stage_seconds=60.0), 5) == 1.0
    with pytest.raises(ConfigError, match="never repeats"):
        stage_progress(config, RunState(), None)
    assert rate_factor(replace(toy.STAGE, decay=0.0), 100, 0.99) == 1.0


def test_noise_depends_on_seed_stage_and_number_alone() -> None:
    seeds = {microbatch_seed(seed, stage, number) for seed in (0, 1) for stage in (0, 1) for number in range(100)}
    assert len(seeds) == 400
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert microbatch_seed(5, 1, 7) == microbatch_seed(5, 1, 7)


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (StageConfig, {"steps": None}),
        (StageConfig, {"steps": 0}),
        (StageConfig, {"minutes": 0.0}),
        (StageConfig, {"batch_size": 0}),
        (StageConfig, {"learning_rate": float("nan")}),
        (StageConfig, {"decay": 1.5}),
        (StageConfig, {"name": "a/b"}),
        (StageConfig, {"accumulation": 0}),
        (RunConfig, {"gradient_clip": 0.0}),
        (RunConfig, {"ema_decay": 1.0}),
        (RunConfig, {"seed": -1}),
        (LogConfig, {"steps": 0}),
        (CheckpointConfig, {"keep_last": 0}),
        (CheckpointConfig, {"minutes": -1.0}),
        (SampleConfig, {"every_steps": 0}),
    ],
    ids=str,
)
def test_configs_that_cannot_work_are_refused(make: Callable[..., Any], wrong: dict[str, Any]) -> None:
    good = {"name": "a", "batch_size": 1, "learning_rate": 1.0, "steps": 1} if make is StageConfig else {}
    with pytest.raises(ConfigError):
        make(**{**good, **wrong})
