"""When a run is saved, that what is saved has changed, and how it comes back."""

from __future__ import annotations

import logging
import time
from collections import Counter
from pathlib import Path

from sanakit.common.errors import ConfigError
from sanakit.common.ranks import agree, any_rank
from sanakit.training.run.run_state import RunState
from sanakit.training.run.session import Session
from sanakit.training.saving.checkpoint import (
    find_checkpoint,
    load_tensors,
    prune,
    read_state,
    save_checkpoint,
    saved_names,
)
from sanakit.training.step.train_state import TrainState, fingerprint

logger = logging.getLogger(__name__)


class Checkpointer:
    """Saves a run by the rule of its recipe in ``checkpoints/`` of its folder; all processes must call."""

    def __init__(self, session: Session) -> None:
        self.folder, self.config, self.ranks = session.folder / "checkpoints", session.config.checkpoints, session.ranks
        self._last_time = time.monotonic()
        self._weights: dict[str, int] = {}  # fingerprints of the trainees that have learned, at their last save
        self._updates: Counter[str] = Counter()  # of each, then
        self._found: Path | None = None  # to continue from, until it is restored
        self._saved: tuple[int, int, Path] | None = None  # step, stage and place of the newest

    def find(self) -> RunState | None:
        """Where the run continues; None if nothing was saved.

        Raises:
            CheckpointError: something was saved, and none of it is whole.
        """
        self._found = find_checkpoint(self.folder, self.ranks)
        if self._found is None:
            return None
        state = RunState(**read_state(self._found)["run"])
        logger.info("continues at step %d after %.1f minutes, from %s", state.step, state.seconds / 60, self._found)
        return state

    def begin_stage(self, train_state: TrainState, state: RunState) -> None:
        """Restore what was found, once, and remember the weights that the next save is compared with."""
        if self._found is not None:
            self.restore(train_state, self._found)
            self._saved, self._found = (state.step, state.stage, self._found), None
        self._weights = {trainee.name: fingerprint(trainee.model) for trainee in train_state.trainees}
        self._updates = train_state.updates.copy()

    def restore(self, train_state: TrainState, path: Path) -> None:
        """Continue from a checkpoint; a process that was not there when it was written keeps its random state.

        Raises:
            CheckpointError: it is of another model or another optimiser.
        """
        saved, own = saved_names(path), f"rng.{self.ranks.rank}."
        train_state.create_optimizer_state(saved)
        tensors = train_state.tensors(self.ranks)
        tensors = {name: t for name, t in tensors.items() if not name.startswith(own) or name in saved}
        load_tensors(path, tensors, ranks=self.ranks)
        train_state.restore_values(tensors, self.ranks)
        content = read_state(path)
        steps = {train_state.first.name: content["ema_step"], **content.get("average_steps", {})}
        for name, average in train_state.averages.items():
            average.step = steps[name]

    def is_due(self, state: RunState) -> bool:
        by_steps = self.config.steps is not None and state.step % self.config.steps == 0
        minutes = (time.monotonic() - self._last_time) / 60
        by_time = self.config.minutes is not None and agree(minutes, self.ranks) >= self.config.minutes
        return by_steps or by_time

    def save(self, train_state: TrainState, state: RunState) -> Path:
        """Save now, unless just this is saved; older checkpoints are deleted by the rule once this one is whole."""
        if self._saved is not None and self._saved[:2] == (state.step, state.stage):
            return self._saved[2]
        self._compare(train_state, state)
        steps = {name: average.step for name, average in train_state.averages.items()}
        content = {
            "step": state.step,
            "run": state.to_json(),
            "ema_step": steps.pop(train_state.first.name),
            "average_steps": steps,
            "world": self.ranks.world,
        }
        path = save_checkpoint(self.folder, train_state.tensors(self.ranks), content, ranks=self.ranks)
        if self.ranks.is_first:
            prune(self.folder, self.config)
            logger.info("saved %s", path)
        self._last_time = time.monotonic()
        self._saved = state.step, state.stage, path
        return path

    def _compare(self, train_state: TrainState, state: RunState) -> None:
        """With the last save, those that were updated since; what did not change is told."""
        for trainee in train_state.trainees:
            updates = train_state.updates[trainee.name] - self._updates[trainee.name]
            if not updates:
                continue
            weights, before = fingerprint(trainee.model), self._weights[trainee.name]
            if any_rank(weights != before, self.ranks):
                state.learned = sorted({*state.learned, trainee.name})
            else:
                logger.warning(
                    "the weights of %s are the same as %d updates ago: nothing is learned, because the learning rate "
                    "is 0, or the loss does not depend on them",
                    trainee.name, updates,
                )  # fmt: skip
            self._weights[trainee.name], self._updates[trainee.name] = weights, train_state.updates[trainee.name]

    def check_learned(self, train_state: TrainState, state: RunState, stage: str) -> None:
        """At the end of a stage, after its save.

        Raises:
            ConfigError: the weights of a trainee never changed in it.
        """
        for trainee in train_state.trainees:
            if train_state.updates[trainee.name] and trainee.name not in state.learned:
                raise ConfigError(
                    f"stage {stage} is over, and the weights of {trainee.name} are to the bit those that it began "
                    f"with: no save found them changed, so nothing is exported; raise the learning rate, or look for "
                    f"what keeps its loss from them"
                )
