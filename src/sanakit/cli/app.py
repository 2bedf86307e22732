"""The command ``sanakit``: which commands there are, and the way out of each.

Nothing here or in the modules of the commands imports torch before a command needs it: ``--help`` is quick.
"""

from __future__ import annotations

import atexit
import gc
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Annotated

import typer

from sanakit.cli.terminal.collection import collecting_as_before
from sanakit.cli.terminal.console import forgiving_streams, log_handler, say, tell
from sanakit.cli.terminal.failures import SUCCESS, Interrupted, noted_interrupts, report
from sanakit.cli.terminal.options import add_commands
from sanakit.common.devices import prepare_threads
from sanakit.common.errors import OutputError
from sanakit.common.free_memory import keep_freed_memory
from sanakit.common.version import __version__

_COMMANDS = (
    "generate", "replay", "decode", "upscale", "enhance", "annotate", "info", "convert", "quantize", "grow", "prune",
    "doctor", "bench", "train", "serve", "studio", "version",
)  # fmt: skip
_WINGS = {"serve": "serving.serve", "studio": "serving.studio"}  # modules of commands that lie in a folder
_GROUPS = ("adapter", "data", "eval", "reward")  # of commands, each a folder with its ``app.py``


def program(words: Sequence[str] = ()) -> typer.Typer:
    """The command line; where ``words`` begin with a command, that one alone, without the modules of the others."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    app.callback()(describe)
    names = {*_COMMANDS, *_GROUPS}
    names = names.intersection(words[:1]) or names
    add_commands(app, *(_command(name) for name in _COMMANDS if name in names))
    for name in (name for name in _GROUPS if name in names):
        app.add_typer(getattr(import_module(f"sanakit.cli.{name}.app"), f"{name}_app"), name=name)
    return app


def _command(name: str) -> Callable[..., None]:
    return getattr(import_module(f"sanakit.cli.{_WINGS.get(name, name)}"), name)


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"sanakit {__version__}")
        raise typer.Exit


def describe(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show log lines, and tracebacks of errors.")] = False,
    max_pixels: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="Read pictures up to so large; 178956970 if not given.")
    ] = None,
) -> None:
    """Pictures from prompts with the SANA family of models, and with a small one that comes with it.

    Exit codes: 0 done, 1 failed, 2 something was asked for that cannot be done, 130 interrupted.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and give its exit code; ``--debug`` and ``--max-pixels`` may stand anywhere in it."""
    with forgiving_streams() as stdout, noted_interrupts() as was_interrupted, collecting_as_before():
        code = _run(list(sys.argv[1:] if arguments is None else arguments), was_interrupted)
        stdout.flush()
        if stdout.error is None:
            return code
        lost = OutputError(f"what was to be printed could not be, stdout: {stdout.error}; files that were written stay")
        return max(report(lost), code)


def _run(words: list[str], was_interrupted: Callable[[], bool]) -> int:
    atexit.register(gc.freeze)  # Python's end need not search all that torch has made for cycles: 0.4 s
    prepare_threads()
    keep_freed_memory()
    debug = _take_debug(words)
    if debug:
        logging.basicConfig(level=logging.INFO, handlers=[log_handler("%(asctime)s %(name)s: %(message)s")])
        logging.captureWarnings(True)
    else:
        warnings.simplefilter("ignore")  # of libraries, about code that the user did not write
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # which quotes words of files as they are
    try:
        _take_max_pixels(words)
        code = typer.main.get_command(program(words)).main(words, prog_name="sanakit", standalone_mode=False)
    except (Exception, KeyboardInterrupt) as error:
        if was_interrupted() and not isinstance(error, Interrupted):
            return report(KeyboardInterrupt())
        if debug and not isinstance(error, (KeyboardInterrupt, Interrupted, typer.TyperException)):
            tell(traceback.format_exc().rstrip())
        return report(error)
    if code == 130:  # typer's own answer to a Ctrl-C that no command has caught
        return report(KeyboardInterrupt())
    return code if isinstance(code, int) else SUCCESS


def _take_max_pixels(words: list[str]) -> None:
    end = words.index("--") if "--" in words else len(words)
    for index, word in enumerate(words[:end]):
        name, equals, value = word.partition("=")
        if name != "--max-pixels":
            continue
        from sanakit.common.picture_limits import raise_limit

        raise_limit(value if equals else " ".join(words[index + 1 : index + 2]))
        del words[index : index + (1 if equals else 2)]
        return


def _take_debug(words: list[str]) -> bool:
    end = words.index("--") if "--" in words else len(words)
    if "--debug" not in words[:end]:
        return False
    words.remove("--debug")
    return True
