"""The loop: stages one after the other; a step is draw, forward and backward, check, update, log, save."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch import Tensor

from sanakit.common.config import to_mapping
from sanakit.common.ranks import ALONE, Ranks, agree, any_rank
from sanakit.training.run.run_config import RunConfig
from sanakit.training.run.run_state import RunState
from sanakit.training.run.stage import PlannedStage, Stage, last_position, microbatch_seed, rate_factor, stage_progress
from sanakit.training.saving.checkpoint import find_checkpoint, read_state
from sanakit.training.saving.checkpointer import Checkpointer
from sanakit.training.saving.guard import stop_at_bad_step
from sanakit.training.step.feeds import Prefetch
from sanakit.training.step.interruption import Interruption, RunInterrupted
from sanakit.training.step.parallel import checkpoint_activations, compile_blocks
from sanakit.training.step.random_state import seed_everything
from sanakit.training.step.step import Outcome, StepPlan, compute_gradients, plan_step
from sanakit.training.step.train_state import TrainState, assemble
from sanakit.training.watching.run_logger import RunLogger
from sanakit.training.watching.stopwatch import Stopwatch

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run did, in all its sittings."""

    steps: int
    samples: int
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Watchers:
    """Who is told what, on the first process only.

    Attributes:
        on_log: each line of the log.
        on_step: the state after each step, the name of the stage, and how much of the stage is done, 0 to 1.
        draw_samples: whole averaged weights on the CPU and the step, to a picture; asked on the first process.
    """

    on_log: Callable[[Mapping[str, float]], None] | None = None
    on_step: Callable[[RunState, str, float], None] | None = None
    draw_samples: Callable[[Mapping[str, Tensor], int], Image.Image] | None = None


def train(
    stages: Sequence[PlannedStage],
    config: RunConfig,
    folder: Path,
    *,
    ranks: Ranks = ALONE,
    device: str = "cpu",
    sharded: bool = False,
    watchers: Watchers | None = None,
) -> RunResult:
    """Go through all stages; continue from the newest whole checkpoint in ``folder / "checkpoints"`` if there is one.

    Args:
        stages: each is built when it begins; several may train the same model.
        config: the recipe: what the loop reads of it, and what a bundle of the guard keeps of it.
        folder: of this run: ``checkpoints/``, ``log.jsonl``, ``samples/`` and ``guard/`` are written there.
        ranks: this process among those that share the work; each takes its own micro-batches.
        device: of the models, where the batches are moved to.
        sharded: keep a part of every model on each process, instead of a copy.
        watchers: told of lines, steps and samples.

    Returns:
        what was done; the first trainee's model holds its average.

    Raises:
        NonFiniteError: the loss or its gradient is no longer finite; the weights are as before that step.
        RunInterrupted: Ctrl-C or SIGTERM came; where the run was is saved.
        OutputError: something could not be written; the last good checkpoint is as it was.
    """
    watchers, checkpointer = watchers or Watchers(), Checkpointer(folder / "checkpoints", config.checkpoints, ranks)
    saved, state = find_checkpoint(folder / "checkpoints", ranks), RunState()
    if saved:
        state = RunState(**read_state(saved)["run"])
        logger.info("continues at step %d after %.1f minutes, from %s", state.step, state.seconds / 60, saved)
    else:
        seed_everything(microbatch_seed(config.seed, len(stages), ranks.rank))
    run_logger = RunLogger(folder, config, state, ranks, watchers.on_log, watchers.draw_samples)
    train_state: TrainState | None = None
    try:
        while True:
            stage = stages[state.stage].build()
            logger.info("stage %s: %s", stage.config.name, to_mapping(stage.config))
            train_state = _assemble(stage, train_state, config, ranks=ranks, sharded=sharded)
            if saved:
                train_state.load(saved, read_state(saved)["ema_step"], ranks=ranks)
            checkpointer.follow(train_state, state, saved)
            saved = None
            _run_stage(stage, train_state, state, config, folder, ranks, device, watchers, checkpointer, run_logger)
            checkpointer.save(train_state, state, run_logger)
            if state.stage + 1 == len(stages):
                break
            state.next_stage()
    finally:
        run_logger.close()
    train_state.ema.copy_to(train_state.trainees[0].model)
    return RunResult(state.step, state.samples, state.seconds)


def _run_stage(
    stage: Stage,
    train_state: TrainState,
    state: RunState,
    config: RunConfig,
    folder: Path,
    ranks: Ranks,
    device: str,
    watchers: Watchers,
    checkpointer: Checkpointer,
    run_logger: RunLogger,
) -> None:
    """Steps until the stage is over."""
    data, accumulation = stage.data, stage.config.accumulation
    end = last_position(stage.config, data.num_batches)
    watch = Stopwatch()
    with Prefetch(data.batch) as prefetch, Interruption() as interruption:
        while True:
            progress = agree(_progress(stage, state), ranks)
            if progress >= 1:
                break
            plan = plan_step(data, state.position, end, accumulation, ranks)
            batches = [prefetch.take(number).to(device) for number in plan.numbers]
            following = state.position + plan.num_microbatches
            if end is None or following < end:
                prefetch.expect(plan_step(data, following, end, accumulation, ranks).numbers)
            watch.lap("data")
            rate = train_state.set_rate(rate_factor(stage.config, state.stage_step, progress))
            outcomes = _update(train_state, plan, batches, state, config, folder, ranks, device, watch)
            train_state.ema.update(train_state.trainees[0].model)
            watch.lap("optimizer")
            state.count_step(plan.num_microbatches, plan.num_samples)
            progress = _progress(stage, state)
            run_logger.see(
                outcomes,
                train_state,
                state,
                plan,
                rate=rate,
                progress=progress,
                num_batches=data.num_batches,
                watch=watch,
            )
            if watchers.on_step is not None and ranks.is_first:
                watchers.on_step(state, stage.config.name, progress)
            if any_rank(interruption.name is not None, ranks):
                path = checkpointer.save(train_state, state, run_logger)
                raise RunInterrupted(
                    f"stopped by {interruption.name or 'another process'} after step {state.step}; "
                    f"the same command continues from {path}"
                )
            checkpointer.save_if_due(train_state, state, run_logger)
            state.count_seconds(watch.lap("other"))


def _update(
    train_state: TrainState,
    plan: StepPlan,
    batches: Sequence[object],
    state: RunState,
    config: RunConfig,
    folder: Path,
    ranks: Ranks,
    device: str,
    watch: Stopwatch,
) -> dict[str, Outcome]:
    """One step of every trainee on the same micro-batches."""
    outcomes = {}
    for trainee in train_state.trainees:
        outcome = compute_gradients(trainee, plan, batches, state.stage, config, ranks=ranks, device=device)
        watch.lap("compute")
        if not outcome.is_finite:
            stop_at_bad_step(trainee, plan, batches, outcome, state, config, folder, ranks=ranks, device=device)
        for optimizer in train_state.optimizers[trainee.name]:
            optimizer.step()
        trainee.model.zero_grad(set_to_none=True)
        watch.lap("optimizer")
        outcomes[trainee.name] = outcome
    return outcomes


def _assemble(stage: Stage, before: TrainState | None, config: RunConfig, *, ranks: Ranks, sharded: bool) -> TrainState:
    if before is None:
        for trainee in stage.trainees:
            if config.activation_checkpointing:
                checkpoint_activations(trainee.model)
            if config.compile:
                compile_blocks(trainee.model)
    return assemble(stage, before, config, ranks=ranks, sharded=sharded)


def _progress(stage: Stage, state: RunState) -> float:
    return stage_progress(
        stage.config,
        step=state.stage_step,
        position=state.position,
        seconds=state.stage_seconds,
        num_batches=stage.data.num_batches,
    )
