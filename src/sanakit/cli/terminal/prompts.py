"""Prompts from the command line and from a file."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import typer
from typer.core import TyperCommand

from sanakit.common.errors import RequestError
from sanakit.data.prompts import read_prompts

PROMPTS = "PROMPT..."  # how an argument that takes prompts is shown
_PROMPT = re.compile(r"-(?!-?[\w-]+=)[^=]*\s")  # begins with a dash, and holds a space before any sign of equality
_MARK = "\0"  # which no word of a command line holds


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
        words = ctx.params[names[0]]
        ctx.params[names[0]] = words and [word.removeprefix(_MARK) for word in words]
        return rest


def collect_prompts(arguments: Sequence[str], prompt_file: Path | None) -> list[str]:
    """The prompts of the arguments, then those of the file.

    Raises:
        RequestError: there is none at all, or the file holds none or cannot be read.
    """
    texts = [*arguments, *(texts_of(prompt_file) if prompt_file is not None else [])]
    if not texts:
        raise RequestError('there is no prompt; write one, such as: sanakit generate "two red apples"')
    return texts


def texts_of(path: Path, option: str = "--prompt-file") -> list[str]:
    """Those of the file that an option names, or with ``-`` of stdin (``data/prompts.py``)."""
    if str(path) == "-" and sys.stdin is None:
        raise RequestError(f"{option} - reads stdin, and that is closed")
    source = sys.stdin.buffer if str(path) == "-" else path
    return [text for text, _ in read_prompts(source, f"{option} {path}")]
