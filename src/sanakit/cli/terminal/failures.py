"""What the shell is told when something fails: one sentence on stderr and an exit code."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import typer

from sanakit.cli.terminal.console import tell
from sanakit.common.errors import ConfigError, RequestError, SanakitError
from sanakit.common.free_memory import is_out_of_memory

SUCCESS, FAILURE, USAGE, INTERRUPTED = 0, 1, 2, 130

# Settings whose option has another name; of all others it is the same with dashes.
_OPTIONS = {
    "num_inference_steps": "--steps",
    "height": "--size (height)",
    "width": "--size (width)",
    "prompt": "the prompt",
}
_SETTING = re.compile(
    r"(?:^|(?<= and ))(prompt|negative_prompt|height|width|num_inference_steps|guidance_scale|pag_scale|solver|seed"
    r"|num_images|upscale|output|format|device|trust_remote_code)="
)


@contextmanager
def noted_interrupts() -> Iterator[Callable[[], bool]]:
    """As long as this lasts, gives a function that says whether Ctrl-C came: libraries make errors of their own of it,
    such as torch, which then takes a file for damaged. Signals reach the main thread only."""
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        raise KeyboardInterrupt

    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    chosen = is_default and threading.current_thread() is threading.main_thread()
    if chosen:
        signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(came)
    finally:
        if chosen:
            signal.signal(signal.SIGINT, signal.default_int_handler)


class Interrupted(SanakitError):  # noqa: N818 (nothing went wrong)
    """The user pressed Ctrl-C; the message says what is finished and what is not."""


def exit_code(error: BaseException) -> int:
    """2 for what the user typed, 130 for Ctrl-C, 1 for everything else."""
    match error:
        case KeyboardInterrupt() | Interrupted():
            return INTERRUPTED
        case RequestError() | ConfigError():
            return USAGE
        case typer.TyperException():
            return error.exit_code
        case _:
            return FAILURE


def sentence(error: BaseException) -> str:
    """The error in one line, without a traceback."""
    match error:
        case KeyboardInterrupt():
            text = "interrupted; what was not finished was not written"
        case RequestError():
            text = _SETTING.sub(
                lambda found: _OPTIONS.get(found[1], f"--{found[1].replace('_', '-')}") + " ", str(error)
            )
        case SanakitError():
            text = str(error)
        case typer.TyperException():
            text = error.format_message().replace(". Did you mean", ", did you mean").rstrip(".")
            text = text or "no command is given"
            text += "" if text.endswith("?") else "; --help lists what is possible"
        case RecursionError():
            text = "a file or a text is nested too deeply to be read"
        case _ if is_out_of_memory(error):
            text = "this machine has not enough free memory for that; `sanakit doctor` tells what it can run"
        case FileNotFoundError() if not error.filename:  # of ``getcwd``
            text = "the current folder is not there any more; go to another one"
        case OSError() if error.strerror:
            text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        case _:
            unexpected = f"an unexpected {type(error).__name__} ({_start(str(error))})"
            text = f"{unexpected}; run it again with --debug to see where"
    return " ".join(text.split())


def report(error: BaseException) -> int:
    """Print the sentence on stderr and give the exit code."""
    tell(f"sanakit: {sentence(error)}")
    return exit_code(error)


def one_by_one(
    paths: Sequence[Path], work: Callable[[Path], dict[str, Any]], results: list[dict[str, Any]], *, name: str
) -> None:
    """What ``work`` gives of each file; of several, a failure is told, the others are done, and `check_all` ends it.

    Args:
        results: what is found is added, so that it is there after a Ctrl-C too.
        name: of the entry that holds the file where there is an "error" instead.
    """
    for path in paths:
        try:
            results.append(work(path))
        except (SanakitError, MemoryError) as error:
            if len(paths) == 1:
                raise
            results.append({name: str(path), "error": sentence(error)})
            report(error)


def check_all(results: Sequence[dict[str, Any]]) -> None:
    """Exit code 1 if one of them failed."""
    if any("error" in result for result in results):
        raise typer.Exit(FAILURE)


def _start(text: str) -> str:
    line = next((line for line in text.splitlines() if line.strip()), "no message")
    return line if len(line) <= 160 else line[:157] + "..."
