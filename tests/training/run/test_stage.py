"""Stages as plain values: when they end, their learning rate, and configs that cannot work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from sanakit.common.errors import ConfigError
from sanakit.training.run.continuing import note_length
from sanakit.training.run.run_config import CheckpointConfig, LogConfig, RunConfig, SampleConfig
from sanakit.training.run.run_state import RunState
from sanakit.training.run.stage import StageConfig, last_position, microbatch_seed, rate_factor, stage_progress


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
        (SampleConfig, {"steps": 0}),
        (StageConfig, {"epochs": 0.0}),
        (StageConfig, {"learning_rate": 0.0}),
        (StageConfig, {"warmup_steps": -1}),
        (StageConfig, {"decay": -0.1}),
        (StageConfig, {"name": ""}),
        (RunConfig, {"ema_decay": -0.1}),
        (RunConfig, {"seed": 2**63}),
        (LogConfig, {"captions": 0}),
        (CheckpointConfig, {"steps": 0}),
        (CheckpointConfig, {"keep_every_steps": 0}),
    ],
    ids=str,
)
def test_configs_that_cannot_work_are_refused(make: Callable[..., Any], wrong: dict[str, Any]) -> None:
    good = {"name": "a", "batch_size": 1, "learning_rate": 1.0, "steps": 1} if make is StageConfig else {}
    with pytest.raises(ConfigError):
        make(**{**good, **wrong})


@pytest.mark.parametrize(
    ("before", "after", "step", "rates"),
    [
        ({"steps": 10}, {"steps": 20}, 9, (0.2, 1.0)),  # one of five steps of the fall was left
        ({"steps": 10}, {"steps": 20}, 10, (0.0, 1.0)),
        ({"steps": 10}, {"steps": 20}, 4, None),  # as high either way
        ({"steps": 20}, {"steps": 10}, 9, (1.0, 0.2)),
        ({"steps": 10}, {"steps": 10}, 9, None),
        ({"epochs": 1.0}, {"epochs": 2.0}, 9, (0.2, 1.0)),
    ],
)
def test_a_stage_of_another_length_says_where_its_rate_jumps(
    caplog: pytest.LogCaptureFixture,
    before: dict[str, Any],
    after: dict[str, Any],
    step: int,
    rates: tuple[float, float] | None,
) -> None:
    shape: dict[str, Any] = {"name": "only", "batch_size": 1, "learning_rate": 0.5, "warmup_steps": 0, "decay": 0.5}
    old, new = StageConfig(**shape, **before), StageConfig(**shape, **after)
    state = RunState(stage_step=step, position=step)
    note_length(old, state, 10, 0.5)
    assert caplog.text == ""
    note_length(new, state, 10, 0.5)
    assert state.length == new.length
    if rates is None:
        assert caplog.text == ""
    else:
        assert f"goes from {rates[0] * 0.5:.3g} to {rates[1] * 0.5:.3g} where it goes on" in caplog.text
    state.next_stage()
    assert state.length == {}


def test_noise_differs_between_seeds_stages_and_micro_batches() -> None:
    seeds = {microbatch_seed(seed, stage, number) for seed in (0, 1) for stage in (0, 1, 2) for number in (0, 1, 2)}
    assert len(seeds) == 18
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_the_least_that_works() -> None:
    StageConfig(name="a", batch_size=1, learning_rate=1e-9, steps=1, warmup_steps=0, decay=0.0)
    StageConfig(name="a", batch_size=1, learning_rate=1e-9, epochs=0.1, decay=1.0)
    RunConfig(ema_decay=0.0, seed=2**63 - 1, gradient_clip=1e-9)
    LogConfig(steps=1, captions=1)
    CheckpointConfig(keep_last=1, steps=1, minutes=None, keep_every_steps=1)
    SampleConfig(every_steps=1, steps=1)


def test_what_is_set_where_nothing_is_said() -> None:
    stage = StageConfig(name="a", batch_size=1, learning_rate=1.0, steps=1)
    assert (stage.accumulation, stage.auto_lr, stage.warmup_steps, stage.decay) == (1, "none", 100, 0.3)
    run = RunConfig()
    assert (run.seed, run.precision, run.parallel, run.activation_checkpointing, run.compile) == (
        0, "auto", "auto", False, False,
    )  # fmt: skip
    assert (run.gradient_clip, run.ema_decay) == (1.0, 0.999)
    assert run.checkpoints == CheckpointConfig(minutes=10.0, steps=None, keep_last=2, keep_every_steps=None)
    assert run.log == LogConfig(steps=20, captions=500, report_to=("tensorboard",))
    assert run.samples == SampleConfig(prompts=(), every_steps=500, steps=20, guidance_scale=4.5, seed=0)


def test_the_rate_rises_stays_and_falls() -> None:
    config = StageConfig(name="a", batch_size=1, learning_rate=1.0, steps=100, warmup_steps=4, decay=0.5)
    assert [rate_factor(config, step, step / 100) for step in (0, 1, 3, 4, 50, 75, 100)] == [
        0.25, 0.5, 1.0, 1.0, 1.0, 0.5, 0.0,
    ]  # fmt: skip
    assert rate_factor(replace(config, warmup_steps=0), 0, 0.0) == 1.0


def test_the_last_position_of_epochs() -> None:
    config = StageConfig(name="a", batch_size=1, learning_rate=1.0, epochs=1.5)
    assert [last_position(config, num) for num in (1, 4, 10)] == [2, 6, 15]
    assert last_position(replace(config, epochs=0.01), 4) == 1
    assert last_position(replace(config, epochs=None, steps=3), None) is None


def test_a_state_counts_its_run_and_its_stage() -> None:
    state = RunState()
    for _ in range(3):
        state.count_step(2, 8)
        state.count_seconds(1.5, 2.0)
    state.next_stage()
    state.count_step(1, 4)
    state.count_seconds(0.25, 0.5)
    assert state.to_json() == {
        "step": 4, "samples": 28, "seconds": 4.75, "cpu_seconds": 6.5, "stage": 1, "stage_step": 1, "position": 1,
        "stage_seconds": 0.25, "data": {}, "length": {}, "learned": [], "window": {},
    }  # fmt: skip
