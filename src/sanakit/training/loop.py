"""The loop: stages one after the other; a step is draw, forward and backward, check, update, log, save."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sanakit.common.config import to_mapping
from sanakit.common.ranks import agree, any_rank
from sanakit.training.run.continuing import check_data, note_length
from sanakit.training.run.run_state import RunState
from sanakit.training.run.session import Session
from sanakit.training.run.stage import last_position, microbatch_seed, rate_factor, stage_progress
from sanakit.training.saving.checkpointer import Checkpointer
from sanakit.training.saving.guard import stop_at_bad_step
from sanakit.training.step.feeds import Feed, StepPlan, plan_step
from sanakit.training.step.interruption import Interruption, RunInterrupted
from sanakit.training.step.parallel import whole_state
from sanakit.training.step.random_state import seed_everything
from sanakit.training.step.step import Outcome, WeightedBatch, compute_gradients
from sanakit.training.step.train_state import TrainState, assemble
from sanakit.training.step.trainee import PlannedStage, Stage
from sanakit.training.watching.run_logger import DrawSamples, LoggedStep, RunLogger
from sanakit.training.watching.stopwatch import Stopwatch

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run did, in all its sittings, and the averaged weights of its first trainee, whole and on the CPU."""

    steps: int
    samples: int
    seconds: float
    weights: Mapping[str, Tensor]


def run_stages(
    stages: Sequence[PlannedStage], session: Session, *, draw_samples: DrawSamples | None = None
) -> RunResult:
    """Go through all stages; continue from the newest whole checkpoint in ``checkpoints/`` of the run's folder, if any.

    Args:
        stages: each is built when it begins; several may train the same model.
        session: the run's config, folder, processes and device.
        draw_samples: makes the pictures of the recipe's prompts.

    Returns:
        what was done; the models hold their averages.

    Raises:
        ConfigError: the data is not what the run began with, or a stage has changed nothing.
        NonFiniteError: the loss or its gradient is no longer finite; the weights are as before that step.
        RunInterrupted: Ctrl-C or SIGTERM came; where the run was is saved.
        OutputError: something could not be written; the last good checkpoint is as it was.
    """
    checkpointer, run_logger = Checkpointer(session), RunLogger(session, draw_samples)
    state, train_state = checkpointer.find(), None
    if state is None:
        state = RunState()
        seed_everything(microbatch_seed(session.config.seed, len(stages), session.ranks.rank))
    run_logger.open(state)
    with closing(run_logger):
        while True:
            stage = stages[state.stage].build(partial(check_data, state=state, accepted=session.config.accept_data))
            logger.info("stage %s: %s", stage.config.name, to_mapping(stage.config))
            train_state = assemble(session, stage, train_state)
            checkpointer.begin_stage(train_state, state)
            note_length(stage.config, state, stage.feed.num_batches, train_state.learning_rate)
            _run_stage(session, stage, train_state, state, checkpointer, run_logger)
            _save(train_state, state, checkpointer, run_logger)
            checkpointer.check_learned(train_state, state, stage.config.name)
            if stage.accept is not None:
                train_state.put_averages()
                stage.accept()
            if state.stage + 1 == len(stages):
                break
            state.next_stage()
    train_state.put_averages()
    weights = whole_state(train_state.first.model.state_dict())
    return RunResult(state.step, state.samples, state.seconds, weights)


def _run_stage(
    session: Session,
    stage: Stage,
    train_state: TrainState,
    state: RunState,
    checkpointer: Checkpointer,
    run_logger: RunLogger,
) -> None:
    """Steps until the stage is over."""
    feed, accumulation, ranks = stage.feed, stage.config.accumulation, session.ranks
    end = last_position(stage.config, feed.num_batches)
    with closing(feed), closing(Stopwatch()) as watch, Interruption() as interruption:
        while (progress := agree(stage_progress(stage.config, state, feed.num_batches), ranks)) < 1:
            plan = plan_step(feed.num_samples, state.position, end, accumulation, ranks)
            batches = _take(session, feed, plan, state)
            following = state.position + plan.num_microbatches
            if end is None or following < end:
                feed.expect(plan_step(feed.num_samples, following, end, accumulation, ranks))
            watch.lap("data")
            rate = train_state.set_rate(rate_factor(stage.config, state.stage_step, progress))
            outcomes = _update(session, train_state, state, batches, watch)
            state.count_step(plan.num_microbatches, plan.num_samples)
            taken = LoggedStep(
                stage=stage, outcomes=outcomes, num_samples=plan.num_samples, rate=rate, seconds=watch.take()
            )
            run_logger.see(taken, train_state, state)
            if any_rank(interruption.name is not None, ranks):
                path = _save(train_state, state, checkpointer, run_logger)
                raise RunInterrupted(
                    f"stopped by {interruption.name or 'another process'} after step {state.step}; "
                    f"the same command continues from {path}"
                )
            if checkpointer.is_due(state):
                _save(train_state, state, checkpointer, run_logger)
            state.count_seconds(watch.lap("other"), watch.cpu())


def _take(session: Session, feed: Feed[Any], plan: StepPlan, state: RunState) -> list[WeightedBatch]:
    batches = [batch.to(session.device) for batch in feed.take(plan)]
    return [
        WeightedBatch(
            number,
            batch,
            microbatch_seed(session.config.seed, state.stage, number),
            weight,
            {"step": torch.tensor(state.stage_step)},
            describe=partial(feed.describe, number),
        )
        for number, weight, batch in zip(plan.numbers, plan.weights, batches, strict=True)
    ]


def _update(
    session: Session, train_state: TrainState, state: RunState, batches: Sequence[WeightedBatch], watch: Stopwatch
) -> dict[str, Outcome]:
    """One step of every trainee whose turn it is, one after the other on the same micro-batches."""
    outcomes = {}
    for trainee in train_state.trainees:
        if not trainee.takes(state.stage_step):
            continue
        outcome = compute_gradients(session, trainee, batches)
        watch.lap("compute")
        if outcome.is_finite:
            train_state.update(trainee)
        elif trainee.on_bad == "stop":
            stop_at_bad_step(session, trainee, batches, outcome, state, train_state.networks)
        trainee.model.zero_grad(set_to_none=True)
        watch.lap("optimizer")
        outcomes[trainee.name] = outcome
    return outcomes


def _save(train_state: TrainState, state: RunState, checkpointer: Checkpointer, run_logger: RunLogger) -> Path:
    run_logger.write_window(state)
    return checkpointer.save(train_state, state)
