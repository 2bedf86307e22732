"""What is written down of a run while it goes on: lines of the log, trackers, pictures of fixed prompts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from sanakit.common.config import to_mapping
from sanakit.common.errors import OutputError
from sanakit.common.ranks import Ranks
from sanakit.training.run.run_config import RunConfig
from sanakit.training.run.run_state import RunState
from sanakit.training.step.parallel import whole_state
from sanakit.training.step.step import Outcome, StepPlan
from sanakit.training.step.train_state import TrainState
from sanakit.training.watching.run_log import Window, append_log, cut_log
from sanakit.training.watching.stopwatch import Stopwatch
from sanakit.training.watching.trackers import Tracker, build_trackers

logger = logging.getLogger(__name__)


class RunLogger:
    """Sees every step and writes of some.

    Args:
        folder: of the run.
        config: how often, and who else is told.
        state: where the run continues; what an earlier sitting logged beyond it is dropped.
        ranks: only the first process writes.
        on_log: is given each line.
        draw_samples: whole averaged weights and the step, to a picture.
    """

    def __init__(
        self,
        folder: Path,
        config: RunConfig,
        state: RunState,
        ranks: Ranks,
        on_log: Callable[[Mapping[str, float]], None] | None,
        draw_samples: Callable[[Mapping[str, Tensor], int], Image.Image] | None,
    ) -> None:
        self._folder, self._config, self._ranks = folder, config, ranks
        self._on_log, self._draw_samples = on_log, draw_samples
        self.window = Window(state.window, ranks)
        self._trackers: list[Tracker] = []
        if ranks.is_first:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError(f"the run's folder {folder} cannot be made ({error.strerror})") from error
            cut_log(folder / "log.jsonl", state.step)
            name, settings = folder.name, to_mapping(config)
            self._trackers = build_trackers(config.log.report_to, folder, name=name, config=settings)

    def see(
        self,
        outcomes: Mapping[str, Outcome],
        train_state: TrainState,
        state: RunState,
        plan: StepPlan,
        *,
        rate: float,
        progress: float,
        num_batches: int | None,
        watch: Stopwatch,
    ) -> None:
        """After a step: count it, and write if one of the rules says so. All processes must call."""
        self.window.add(outcomes, plan.num_samples, watch.take())
        if state.step % self._config.log.steps == 0:
            self._write(state, rate, progress, num_batches)
        samples = self._config.samples
        if self._draw_samples is not None and samples.prompts and state.step % samples.every_steps == 0:
            self._draw(train_state, state.step)

    def close(self) -> None:
        for tracker in self._trackers:
            tracker.close()

    def _write(self, state: RunState, rate: float, progress: float, num_batches: int | None) -> None:
        window, self.window = self.window, Window(ranks=self._ranks)
        bands = window.bands()
        if not self._ranks.is_first:
            return
        line = {
            "step": state.step,
            "samples": state.samples,
            "stage": state.stage,
            "epoch": state.position / num_batches if num_batches else 0.0,
            **window.means(),
            **bands,
            "learning_rate": rate,
            "seconds": round(state.seconds, 1),
            **window.speed(),
            "eta_seconds": round(state.stage_seconds * (1 - progress) / progress, 1) if progress > 0 else 0.0,
        }
        append_log(self._folder / "log.jsonl", line)
        for tracker in self._trackers:
            tracker.scalars({name: value for name, value in line.items() if name != "step"}, state.step)
        if self._on_log is not None:
            self._on_log(line)

    def _draw(self, train_state: TrainState, step: int) -> None:
        weights = whole_state(dict(train_state.ema.shadow))
        if not self._ranks.is_first or self._draw_samples is None:
            return
        with torch.random.fork_rng():
            picture = self._draw_samples(weights, step)
        try:
            (self._folder / "samples").mkdir(exist_ok=True)
            picture.save(self._folder / "samples" / f"step-{step:08d}.png")
        except OSError as error:
            raise OutputError(f"samples of step {step} cannot be written to {self._folder} ({error})") from error
        for tracker in self._trackers:
            tracker.pictures("samples", picture, step)
