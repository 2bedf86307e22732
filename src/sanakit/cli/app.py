"""The command ``sanakit``: which commands there are, and the way out of each.

Nothing here or in the modules of the commands imports torch before a command needs it: ``--help`` is quick.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from sanakit.cli.bench import bench
from sanakit.cli.convert import convert
from sanakit.cli.data.app import data_app
from sanakit.cli.decode import decode
from sanakit.cli.doctor import doctor
from sanakit.cli.eval.app import eval_app
from sanakit.cli.generate import generate
from sanakit.cli.grow import grow
from sanakit.cli.info import info
from sanakit.cli.prune import prune
from sanakit.cli.quantize import quantize
from sanakit.cli.replay import replay
from sanakit.cli.terminal.console import forgiving_streams, log_handler, say, tell
from sanakit.cli.terminal.failures import SUCCESS, Interrupted, noted_interrupts, report
from sanakit.cli.terminal.options import add_commands
from sanakit.cli.train import train
from sanakit.cli.upscale import upscale
from sanakit.cli.version import version
from sanakit.common.devices import prepare_threads
from sanakit.common.errors import OutputError
from sanakit.common.free_memory import keep_freed_memory
from sanakit.common.version import __version__

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
add_commands(
    app, generate, replay, decode, upscale, info, convert, quantize, grow, prune, doctor, bench, train, version
)
app.add_typer(data_app, name="data")
app.add_typer(eval_app, name="eval")


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"sanakit {__version__}")
        raise typer.Exit


@app.callback()
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
    with forgiving_streams() as stdout, noted_interrupts() as was_interrupted:
        code = _run(list(sys.argv[1:] if arguments is None else arguments), was_interrupted)
        stdout.flush()
        if stdout.error is None:
            return code
        lost = OutputError(f"what was to be printed could not be, stdout: {stdout.error}; files that were written stay")
        return max(report(lost), code)


def _run(words: list[str], was_interrupted: Callable[[], bool]) -> int:
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
        code = typer.main.get_command(app).main(words, prog_name="sanakit", standalone_mode=False)
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
