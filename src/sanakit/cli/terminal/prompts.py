"""Prompts from the command line and from a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sanakit.common.errors import RequestError
from sanakit.data.sources.files import decode_text, lines_of

MAX_FILE_BYTES = 50_000_000


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
    """One prompt a line; empty lines and lines that begin with ``#`` are left out.

    UTF-8, or UTF-16 with its mark, with the line ends of any system.
    A prompt that itself begins with ``#`` is written with a space before it.
    """
    try:
        with path.open("rb") as file:
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
