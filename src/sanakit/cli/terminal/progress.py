"""A progress bar on stderr with rate and time left."""

from __future__ import annotations

import sys
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class _RateColumn(ProgressColumn):
    """``7.4 steps/s``, or ``3.1 s/step`` where one takes longer than a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:.1f} {self.unit}/s" if speed >= 1 else f"{1 / speed:.1f} s/{self.unit.removesuffix('s')}")


class ProgressBar:
    """A bar for one job whose total may become known only with the first step.

    Nothing is drawn when ``quiet``, or when stderr is not a terminal.
    """

    def __init__(self, text: str, *, unit: str, quiet: bool = False) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=None), MofNCompleteColumn(), _RateColumn(unit),
            TimeRemainingColumn(), console=console, transient=True, disable=quiet or not console.is_terminal,
            redirect_stdout=sys.stdout.isatty(),  # else what is printed meanwhile would go to stderr
        )  # fmt: skip
        self._task = self._progress.add_task(text, total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def update(self, done: int, total: int, text: str | None = None) -> None:
        """Show that ``done`` of ``total`` is done."""
        self._progress.update(self._task, completed=done, total=total, description=text)
