"""What is written down of a run while it goes on: lines of the log, trackers, pictures of fixed prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from sanakit.common.errors import OutputError
from sanakit.training.run.run_state import RunState
from sanakit.training.run.session import Session
from sanakit.training.run.stage import stage_progress
from sanakit.training.step.parallel import whole_state
from sanakit.training.step.step import Outcome
from sanakit.training.step.train_state import TrainState
from sanakit.training.step.trainee import Stage
from sanakit.training.watching.run_log import Window, append_log, cut_log
from sanakit.training.watching.trackers import Tracker, build_trackers

DrawSamples = Callable[[Mapping[str, Tensor], int], Image.Image]
"""Whole averaged weights on the CPU and the step, to a picture; asked on the first process."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedStep:
    """What there is to say about a step.

    Attributes:
        stage: it belongs to.
        outcomes: by trainee, of those that took part; one that is not finite was skipped.
        num_samples: on all processes.
        rate: of the stage.
        seconds: by what they were spent on.
    """

    stage: Stage
    outcomes: Mapping[str, Outcome]
    num_samples: int
    rate: float
    seconds: Mapping[str, float]


class RunLogger:
    """Sees every step and writes of some; only the first process writes.

    Args:
        draw_samples: draws the prompts of the recipe, if it has any.
    """

    def __init__(self, session: Session, draw_samples: DrawSamples | None = None) -> None:
        self._session, self._draw_samples = session, draw_samples
        self._window = Window(ranks=session.ranks)
        self._trackers: list[Tracker] = []

    def open(self, state: RunState) -> None:
        """Begin where a run continues; what an earlier sitting logged beyond it is dropped."""
        folder = self._session.folder
        self._window = Window(state.window, self._session.ranks)
        if self._session.ranks.is_first:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError(f"the run's folder {folder} cannot be made ({error.strerror})") from error
            cut_log(folder / "log.jsonl", state.step)
            self._trackers = build_trackers(self._session.config, folder)

    def see(self, step: LoggedStep, train_state: TrainState, state: RunState) -> None:
        """After a step: count it, and write if one of the rules says so. All processes must call."""
        config, watchers = self._session.config, self._session.watchers
        progress = stage_progress(step.stage.config, state, step.stage.feed.num_batches)
        self._window.add(step.outcomes, step.num_samples, step.seconds, first=train_state.first.name)
        if state.step % config.log.steps == 0:
            self._write(step, state, progress, self._tested(step.stage, state.step))
        if self._draw_samples is not None and config.samples.prompts and state.step % config.samples.every_steps == 0:
            self._draw(self._draw_samples, train_state, state.step)
        if watchers.on_step is not None and self._session.ranks.is_first:
            watchers.on_step(state, step.stage.config.name, progress)

    def write_window(self, state: RunState) -> None:
        """Put what the next line has so far into a state that is about to be saved. All processes must call."""
        state.window = self._window.to_json()

    def close(self) -> None:
        for tracker in self._trackers:
            tracker.close()

    def _tested(self, stage: Stage, step: int) -> Mapping[str, float]:
        """The captions, in the first line after so many steps."""
        log = self._session.config.log
        is_due = log.captions is not None and step // log.captions > (step - log.steps) // log.captions
        return stage.test() if is_due and stage.test is not None else {}

    def _write(self, step: LoggedStep, state: RunState, progress: float, tested: Mapping[str, float]) -> None:
        window, self._window = self._window, Window(ranks=self._session.ranks)
        bands = window.bands()
        if not self._session.ranks.is_first:
            return
        num_batches = step.stage.feed.num_batches
        left = {"eta_seconds": round(state.stage_seconds * (1 - progress) / progress, 1)} if state.stage_seconds else {}
        line = {
            "step": state.step,
            "samples": state.samples,
            "stage": state.stage,
            "epoch": state.position / num_batches if num_batches else 0.0,
            **window.means(),
            **window.skipped,
            **bands,
            **tested,
            "learning_rate": step.rate,
            "seconds": round(state.seconds, 1),
            "cpu_seconds": round(state.cpu_seconds, 1),  # of this process
            **window.speed(),
            **left,  # not there after the first step of a stage, of which no time is known yet
        }
        append_log(self._session.folder / "log.jsonl", line)
        for tracker in self._trackers:
            tracker.scalars({name: value for name, value in line.items() if name != "step"}, state.step)
        if self._session.watchers.on_log is not None:
            self._session.watchers.on_log(line)

    def _draw(self, draw_samples: DrawSamples, train_state: TrainState, step: int) -> None:
        weights = whole_state(dict(train_state.averages[train_state.first.name].shadow))
        if not self._session.ranks.is_first:
            return
        with torch.random.fork_rng():
            picture = draw_samples(weights, step)
        folder = self._session.folder / "samples"
        try:
            folder.mkdir(exist_ok=True)
            picture.save(folder / f"step-{step:08d}.png")
        except OSError as error:
            raise OutputError(f"samples of step {step} cannot be written to {folder} ({error})") from error
        for tracker in self._trackers:
            tracker.pictures("samples", picture, step)
