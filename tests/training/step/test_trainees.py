"""Trainees that differ in turns, rates, clips, averages and reactions, and data that comes from their own weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sanakit.common.errors import ConfigError
from sanakit.training.loop import RunResult
from sanakit.training.optimizers.config import AdamWConfig
from sanakit.training.run.run_config import CheckpointConfig
from sanakit.training.run.run_state import RunState
from sanakit.training.run.session import Session, Watchers
from sanakit.training.run.stage import StageConfig
from sanakit.training.saving.checkpoint import newest, read_state, saved_names
from sanakit.training.step.feeds import Feed, Prefetched, StepPlan
from sanakit.training.step.step import WeightedBatch, compute_gradients
from sanakit.training.step.train_state import assemble
from sanakit.training.step.trainee import PlannedStage, Stage, Trainee
from sanakit.training.watching.report import read_log

STAGE = StageConfig(name="only", batch_size=4, learning_rate=0.02, steps=10, warmup_steps=0, decay=0.0)


class KilledError(Exception):
    pass


def kill_at(step: int) -> Watchers:
    def stop(state: RunState, stage: str, progress: float) -> None:
        if state.step == step:
            raise KilledError

    return Watchers(on_step=stop)


def run(toy: ModuleType, folder: Path, stage: Stage, watchers: Watchers | None = None, **changes: Any) -> RunResult:
    planned = PlannedStage(stage.config, lambda check: stage)
    return toy.train_in([planned], toy.toy_config(**changes), folder, watchers=watchers)  # type: ignore[no-any-return]


def stage_of(toy: ModuleType, *trainees: Trainee, feed: Feed[Any] | None = None) -> Stage:
    return Stage(STAGE, feed or Prefetched(toy.ToyData(22, 4)), trainees, keep_optimizer=True)


def test_a_critic_steps_every_time_and_a_generator_every_fifth(tmp_path: Path, toy: ModuleType) -> None:
    """The critic sees what the generator has handed on, in the steps where it had a turn."""
    generator, critic = toy.network(), toy.network(1)
    seen: list[bool] = []
    weights: list[tuple[Tensor, Tensor]] = []
    plain = toy.toy_loss(generator)

    def make(batch: Any, noise: torch.Generator, made: dict[str, Tensor]) -> Any:
        made["x"] = batch.x
        return plain(batch, noise, made)

    def judge(batch: Any, noise: torch.Generator, made: dict[str, Tensor]) -> Any:
        seen.append("x" in made and made["x"] is batch.x)
        return toy.toy_loss(critic)(batch, noise, made)

    watchers = Watchers(on_step=lambda *_: weights.append((generator[0].weight.clone(), critic[0].weight.clone())))
    trainees = (
        Trainee("generator", generator, make, AdamWConfig(), every=5),
        Trainee("critic", critic, judge, AdamWConfig()),
    )
    run(toy, tmp_path, stage_of(toy, *trainees), watchers)
    assert seen == [False, False, False, False, True] * 2
    moved = [[not torch.equal(a[i], b[i]) for a, b in pairwise(weights)] for i in (0, 1)]
    assert moved == [[False, False, False, True, False, False, False, False, True], [True] * 9]
    lines = read_log(tmp_path / "log.jsonl")
    assert [line["step"] for line in lines if "loss" in line] == [5, 10]
    assert all("critic/loss" in line for line in lines)


def test_a_bad_step_is_skipped_and_counted(tmp_path: Path, toy: ModuleType) -> None:
    model = toy.network()
    good = toy.toy_loss(model)
    before: list[Tensor] = []

    def loss(batch: Any, noise: torch.Generator, made: Any) -> dict[str, Tensor]:
        terms = dict(good(batch, noise, made))
        if batch.keys.tolist() == toy.ToyData(22, 4).keys(4):
            before.append(model[0].weight.detach().clone())
            terms["loss"] = terms["loss"] * math.nan
        return terms

    watchers = Watchers(on_step=lambda state, *_: before.append(model[0].weight.clone()) if state.step == 5 else None)
    log = {"log": replace(toy.toy_config().log, steps=2)}
    run(toy, tmp_path, stage_of(toy, Trainee("toy", model, loss, AdamWConfig(), on_bad="skip")), watchers, **log)
    assert torch.equal(before[0], before[1])
    assert all(p.isfinite().all() for p in model.parameters())
    lines = read_log(tmp_path / "log.jsonl")
    assert [line.get("skipped") for line in lines] == [None, None, 1, None, None]
    assert all(math.isfinite(line["loss"]) for line in lines)
    assert not (tmp_path / "guard").exists()


def test_each_has_its_rate_its_clip_and_its_average(tmp_path: Path, toy: ModuleType) -> None:
    first, second, third = (toy.network(seed) for seed in range(3))
    stage = stage_of(
        toy,
        Trainee("first", first, toy.toy_loss(first), AdamWConfig()),
        Trainee("second", second, toy.toy_loss(second), AdamWConfig(), rate=0.5, clip=1e-3, average=0.75),
        Trainee("third", third, toy.toy_loss(third), AdamWConfig()),
    )
    session = Session(config=toy.toy_config(), folder=tmp_path)
    state = assemble(session, stage, None)
    assert state.set_rate(0.5) == 0.01
    assert [state.optimizers[name][0].param_groups[0]["lr"] for name in ("first", "second")] == [0.01, 0.005]
    assert {name: average.decay for name, average in state.averages.items()} == {"first": 0.9, "second": 0.75}
    for trainee in stage.trainees:
        outcome = compute_gradients(session, trainee, [WeightedBatch(0, toy.ToyData(22, 4).batch(0), seed=1)])
        norm = torch.stack([p.grad.norm() for p in trainee.model.parameters()]).norm()
        limit = 1e-3 if trainee.name == "second" else 1.0
        assert float(norm) == pytest.approx(min(limit, outcome.gradient_norm), rel=1e-4)
    result = run(toy, tmp_path, stage)
    assert torch.equal(result.weights["0.weight"], first[0].weight)
    checkpoint = newest(tmp_path / "checkpoints")
    assert checkpoint is not None
    assert {"ema.0.weight", "average.second.0.weight", "model.third.0.weight"} <= saved_names(checkpoint)
    assert read_state(checkpoint)["average_steps"] == {"second": 10}
    again = [toy.network(seed + 5) for seed in range(3)]
    trainees = (replace(t, model=m, loss=toy.toy_loss(m)) for t, m in zip(stage.trainees, again, strict=True))
    run(toy, tmp_path, stage_of(toy, *trainees))
    assert torch.equal(again[1][0].weight, second[0].weight)


@pytest.mark.parametrize("wrong", [{"every": 0}, {"rate": 0.0}, {"clip": -1.0}, {"average": 1.0}], ids=str)
def test_trainees_that_cannot_work_are_refused(toy: ModuleType, wrong: dict[str, Any]) -> None:
    model = toy.network()
    with pytest.raises(ConfigError, match="toy: "):
        Trainee("toy", model, toy.toy_loss(model), AdamWConfig(), **wrong)


class Rollouts(Feed[Any]):
    """Samples that the present weights make, in groups of three: the weights of a group's start are a companion."""

    num_batches = None

    def __init__(self, toy: ModuleType, policy: nn.Module, start: nn.Module) -> None:
        self.toy, self.policy, self.start = toy, policy, start

    def num_samples(self, number: int) -> int:
        return 4

    def take(self, plan: StepPlan) -> list[Any]:
        if plan.position % 3 == 0:
            self.start.load_state_dict(self.policy.state_dict())
        return [self._roll(number) for number in plan.numbers]

    @torch.no_grad()
    def _roll(self, number: int) -> Any:
        x = torch.randn(4, 3, generator=torch.Generator().manual_seed(number))
        return self.toy.ToyBatch(torch.full((4,), number), x + self.start(x))


def rollouts(toy: ModuleType, seed: int) -> Stage:
    policy = toy.network(seed)
    start = copy.deepcopy(policy).requires_grad_(False)
    trainee = Trainee("policy", policy, toy.toy_loss(policy), AdamWConfig(), companions={"start": start})
    return stage_of(toy, trainee, feed=Rollouts(toy, policy, start))


def reference(toy: ModuleType, seed: int) -> Stage:
    """A network that stays near to what it was two steps before."""
    model = toy.network(seed)
    old = copy.deepcopy(model).requires_grad_(False)
    plain, calls = toy.toy_loss(model), [0]

    def loss(batch: Any, noise: torch.Generator, made: Any) -> dict[str, Tensor]:
        terms = dict(plain(batch, noise, made))
        terms["loss"] = terms["loss"] + (model(batch.x) - old(batch.x)).square().mean()
        calls[0] += 1
        if calls[0] % 2 == 0:
            old.load_state_dict(model.state_dict())
        return terms

    return stage_of(toy, Trainee("toy", model, loss, AdamWConfig(), companions={"old": old}))


@pytest.mark.parametrize("make", [rollouts, reference])
def test_companions_and_rollouts_resume_to_the_bit(
    tmp_path: Path, toy: ModuleType, make: Callable[[ModuleType, int], Stage]
) -> None:
    """Killed after step 5 and continued from step 4, in the middle of a group, with networks drawn otherwise."""
    saved = {"checkpoints": CheckpointConfig(minutes=None, steps=2)}
    whole = run(toy, tmp_path / "whole", make(toy, 0), **saved)
    with pytest.raises(KilledError):
        run(toy, tmp_path / "parts", make(toy, 0), kill_at(5), **saved)
    parts = run(toy, tmp_path / "parts", make(toy, 3), **saved)
    assert all(torch.equal(tensor, parts.weights[name]) for name, tensor in whole.weights.items())
    losses = [[line["loss"] for line in read_log(tmp_path / name / "log.jsonl")] for name in ("whole", "parts")]
    assert losses[0] == losses[1]
