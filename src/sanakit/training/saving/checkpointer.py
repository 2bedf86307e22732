"""When a run is saved, and that what is saved has changed."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from sanakit.common.ranks import Ranks, agree, any_rank
from sanakit.training.run.run_config import CheckpointConfig
from sanakit.training.run.run_state import RunState
from sanakit.training.saving.checkpoint import prune, save_checkpoint
from sanakit.training.step.train_state import TrainState, fingerprint
from sanakit.training.watching.run_logger import RunLogger

logger = logging.getLogger(__name__)


class Checkpointer:
    """Saves by the rule of the recipe.

    Args:
        folder: of the checkpoints.
        config: the rule.
        ranks: this process among those that all save.
    """

    def __init__(self, folder: Path, config: CheckpointConfig, ranks: Ranks) -> None:
        self.folder, self.config, self.ranks = folder, config, ranks
        self._last_time, self._last_step, self._weights = time.monotonic(), -1, 0
        self._saved: tuple[int, int, Path] | None = None  # step, stage and place of the newest

    def follow(self, train_state: TrainState, state: RunState, saved: Path | None) -> None:
        """Remember the weights that a stage begins with, so that the next save can be compared with them.

        Args:
            saved: the checkpoint that the run has just continued from.
        """
        self._weights, self._last_step = fingerprint(train_state.trainees[0].model), state.step
        if saved:
            self._saved = state.step, state.stage, saved

    def save_if_due(self, train_state: TrainState, state: RunState, run_logger: RunLogger) -> None:
        by_steps = self.config.steps is not None and state.step % self.config.steps == 0
        minutes = (time.monotonic() - self._last_time) / 60
        by_time = self.config.minutes is not None and agree(minutes, self.ranks) >= self.config.minutes
        if by_steps or by_time:
            self.save(train_state, state, run_logger)

    def save(self, train_state: TrainState, state: RunState, run_logger: RunLogger) -> Path:
        """Save now, unless just this is saved; older checkpoints are deleted by the rule once this one is whole."""
        if self._saved is not None and self._saved[:2] == (state.step, state.stage):
            return self._saved[2]
        weights = fingerprint(train_state.trainees[0].model)
        if state.step > self._last_step and not any_rank(weights != self._weights, self.ranks):
            logger.warning(
                "the weights of %s are the same as %d steps ago: nothing is learned, because the learning rate is 0, "
                "or the loss does not depend on them",
                train_state.trainees[0].name,
                state.step - self._last_step,
            )
        state.window = run_logger.window.to_json()
        content = {
            "step": state.step,
            "run": state.to_json(),
            "ema_step": train_state.ema.step,
            "world": self.ranks.world,
        }
        path = save_checkpoint(self.folder, train_state.tensors(self.ranks), content, ranks=self.ranks)
        if self.ranks.is_first:
            prune(self.folder, self.config)
            logger.info("saved %s", path)
        self._last_time, self._last_step, self._weights = time.monotonic(), state.step, weights
        self._saved = state.step, state.stage, path
        return path
