"""What is the same for every part of a run in one sitting, and who is told of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sanakit.common.progress import OnProgress, no_progress
from sanakit.common.ranks import ALONE, Ranks
from sanakit.training.run.run_config import RunConfig
from sanakit.training.run.run_state import RunState


@dataclass(frozen=True, kw_only=True, slots=True)
class Watchers:
    """Who is told what, on the first process only.

    Attributes:
        on_notice: the recipe in full and the memory plan, before the run.
        on_caching: (done, total, what) of the features that are computed before a stage.
        on_scoring: (done, total, what) of what is measured after the run.
        on_step: the state after each step, the name of the stage, and how much of the stage is done, 0 to 1.
        on_log: each line of the log.
    """

    on_notice: Callable[[str], None] | None = None
    on_caching: OnProgress = no_progress
    on_scoring: OnProgress = no_progress
    on_step: Callable[[RunState, str, float], None] | None = None
    on_log: Callable[[Mapping[str, float]], None] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """Made once as a run begins or continues.

    Attributes:
        config: the recipe: what the loop reads of it, and what a bundle of the guard keeps of it.
        folder: of the run: ``checkpoints/``, ``log.jsonl``, ``samples/`` and ``guard/`` are written there.
        ranks: this process among those that share the work; each takes its own micro-batches.
        device: of the models, where the batches are moved to.
        sharded: keep a part of every model on each process, instead of a copy.
    """

    config: RunConfig
    folder: Path
    ranks: Ranks = ALONE
    device: str = "cpu"
    sharded: bool = False
    watchers: Watchers = field(default_factory=Watchers)
