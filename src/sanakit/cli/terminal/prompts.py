"""Prompts from the command line and from a file."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import typer
from typer.core import TyperCommand

from sanakit.common.errors import RequestError
from sanakit.data.sources.files import decode_text, lines_of

PROMPTS = "PROMPT..."  # how an argument that takes prompts is shown
_PROMPT = re.compile(r"-(?!-?[\w-]+=)[^=]*\s")  # begins with a dash, and holds a space before any sign of equality
_MARK = "\0"  # which no word of a command line holds
MAX_FILE_BYTES = 50_000_000


class PromptCommand(TyperCommand):
    """A command that may take prompts: a word with a space in it that begins with a dash is one, and no options."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        names = [parameter.name for parameter in self.params if parameter.metavar == PROMPTS]
        if not names:
            return super().parse_args(ctx, args)
        valued = {name for each in self.params if not getattr(each, "is_flag", True) for name in each.opts}
        marked = [
            _MARK + word if _PROMPT.match(word) and before not in valued else word
            for before, word in zip(["", *args], args, strict=False)
        ]
        try:
            rest = super().parse_args(ctx, marked)
        except typer.TyperException as error:
            if hasattr(error, "possibilities"):  # no such option
                error.message += " (before prompts that begin with a dash write --)"
            raise
        prompts = ctx.params[names[0]]
        ctx.params[names[0]] = prompts and [word.removeprefix(_MARK) for word in prompts]
        return rest


def collect_prompts(arguments: Sequence[str], prompt_file: Path | None) -> list[str]:
    """The prompts of the arguments, then those of the file.

    Raises:
        RequestError: there is none at all, or the file cannot be read as one prompt a line.
    """
    prompts = [*arguments, *(read_prompts(prompt_file) if prompt_file is not None else [])]
    if not prompts:
        raise RequestError('there is no prompt; write one, such as: sanakit generate "two red apples"')
    return prompts


def read_prompts(path: Path) -> list[str]:
    """One prompt a line, of a file or with ``-`` of stdin; without empty lines and those that begin with ``#``.

    UTF-8, or UTF-16 with its mark, with the line ends of any system.
    A prompt that itself begins with ``#`` is written with a space before it.
    """
    if str(path) == "-" and sys.stdin is None:
        raise RequestError("--prompt-file - reads stdin, and that is closed")
    try:
        with nullcontext(sys.stdin.buffer) if str(path) == "-" else path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)  # a pipe or a device has no size that could be asked for
        if len(content) > MAX_FILE_BYTES:
            raise RequestError(f"--prompt-file {path} has more than {MAX_FILE_BYTES} bytes; split it into several")
    except OSError as error:
        raise RequestError(f"--prompt-file {path} cannot be read ({error.strerror})") from error
    try:
        text = decode_text(content)
    except ValueError as error:
        raise RequestError(f"--prompt-file {path} cannot be read: {error}") from None
    if "\0" in text:
        raise RequestError(f"--prompt-file {path} holds zero bytes, as UTF-16 without its mark does; save it as UTF-8")
    lines = [line for line in lines_of(text) if line.strip() and not line.startswith("#")]
    if not lines:
        raise RequestError(f"--prompt-file {path} holds no prompt; write one a line")
    return [line.strip() for line in lines]
