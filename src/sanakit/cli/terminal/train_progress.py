"""A training run seen from the shell: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import math
import signal
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, NoReturn, Self

from sanakit.cli.terminal.console import log_handler, readable_seconds, tell
from sanakit.cli.terminal.progress import ProgressBar

if TYPE_CHECKING:
    from sanakit.training.run.run_state import RunState
    from sanakit.training.run.session import Watchers


class TrainingProgress:
    """What a run tells while it goes on; nothing if ``quiet``."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet, self._is_terminal = quiet, sys.stderr.isatty()
        self._bar: ProgressBar | None = None
        self._title = ""
        self._loss = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def watchers(self) -> Watchers:
        """What the trainer is to tell."""
        from sanakit.training.run.session import Watchers

        told = {"on_caching": self.on_caching, "on_scoring": self.on_scoring}
        return Watchers(on_notice=self.on_notice, **told, on_step=self.on_step, on_log=self.on_log)

    def on_notice(self, text: str) -> None:
        """The recipe in full, the memory plan."""
        tell(text, quiet=self.quiet)

    def on_caching(self, done: int, total: int, what: str) -> None:
        """Features that were computed before a stage."""
        self._show(f"caching {what}", "samples", done, total)

    def on_scoring(self, done: int, total: int, what: str) -> None:
        """Measurements after the last stage."""
        self._show(what, "parts", done, total)

    def on_step(self, state: RunState, stage: str, progress: float) -> None:
        """A step; the number of all of the stage follows from how much of it is done."""
        total = round(state.stage_step / progress) if progress > 0 else state.stage_step
        self._show(f"stage {stage}", "steps", state.stage_step, max(total, state.stage_step), self._loss)

    def on_log(self, line: Mapping[str, float]) -> None:
        """A line of the log."""
        loss = line.get("loss", math.nan)  # not there if the first trainee had no turn
        self._loss = f"  loss {loss:.4f}"
        if not self._is_terminal:
            left = f"  {readable_seconds(line['eta_seconds'])} left" if "eta_seconds" in line else ""
            tell(
                f"step {line['step']:.0f}  loss {loss:.4f}  lr {line['learning_rate']:.2e}  "
                f"{line['samples_per_second']:.1f} samples/s{left}",
                quiet=self.quiet,
            )

    def _show(self, title: str, unit: str, done: int, total: int, remark: str = "") -> None:
        if self.quiet or not self._is_terminal:
            return
        if self._bar is None or title != self._title:
            self._close()
            self._bar, self._title = ProgressBar(title, unit=unit), title
            self._bar.__enter__()
        self._bar.update(done, total, title + remark)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None


@contextmanager
def terminated_like_ctrl_c() -> Iterator[None]:
    """SIGTERM, which torchrun sends, ends the work with a sentence also where no step is running."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)


@contextmanager
def logged_to_stderr(*, quiet: bool, only_warnings: bool) -> Iterator[None]:
    """The library's own lines, or its warnings alone; with ``quiet`` nothing but errors, of any library."""
    ours, level = logging.getLogger("sanakit"), logging.ERROR if quiet else logging.WARNING
    before = ours.level
    ours.setLevel(level if quiet or only_warnings else logging.INFO)
    logging.basicConfig(level=level, handlers=[log_handler("%(asctime)s %(message)s")])
    try:
        with warnings.catch_warnings():
            if quiet:
                warnings.simplefilter("ignore")
            yield
    finally:
        ours.setLevel(before)
