"""Files of prompts, which commands and recipes read by one rule."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from sanakit.common.errors import RequestError
from sanakit.common.paths import as_path
from sanakit.data.sources.files import decode_text, is_clean, lines_of, parse_json

MAX_BYTES = 500_000_000  # millions of prompts; a pipe or a device has no end, and no size that could be asked for


class Prompt(NamedTuple):
    """A text, and what is known of it: ``scene`` of a bank's, the other fields of a line of JSON."""

    text: str
    known: Mapping[str, Any]


def read_prompts(source: str | Path | BinaryIO, what: str | None = None) -> list[Prompt]:
    """The prompts of a file or an open one, at least one.

    One a line, or in a file whose name ends in ``.jsonl`` or ``.json`` an object a line, with a ``prompt`` and what
    else is known. Empty lines and those that begin with ``#`` are left out; a prompt that itself begins with ``#`` has
    a space before it. UTF-8, or UTF-16 or UTF-32 with its mark, with the line ends of any system.

    Args:
        what: how errors call it; None: by its name.

    Raises:
        RequestError: it cannot be read, is no text, holds none, or a line is no such object.
    """
    what = what or str(source)
    lines = lines_of(_text_of(source, what))
    told = [(number, line) for number, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    if not told:
        raise RequestError(f"{what} holds no prompt; write one a line")
    if isinstance(source, (str, Path)) and Path(source).suffix.lower() in (".jsonl", ".json"):
        return [_parsed(line, f"{what}:{number}") for number, line in told]
    return [Prompt(line.strip(), {}) for _, line in told]


def _text_of(source: str | Path | BinaryIO, what: str) -> str:
    try:
        with as_path(source).open("rb") if isinstance(source, (str, Path)) else nullcontext(source) as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RequestError(f"{what} cannot be read: {error.strerror or error}") from error
    if len(content) > MAX_BYTES:
        raise RequestError(f"{what} has more than {MAX_BYTES} bytes; split it into several")
    try:
        text = decode_text(content)
    except ValueError as error:
        raise RequestError(f"{what} cannot be read: {error}") from None
    if "\0" in text:
        raise RequestError(f"{what} holds zero bytes, as UTF-16 without its mark does; save it as UTF-8")
    return text


def _parsed(line: str, where: str) -> Prompt:
    try:
        record = parse_json(line, where)
    except ValueError as error:
        raise RequestError(str(error)) from error
    if not is_clean(json.dumps(record, ensure_ascii=False)):
        raise RequestError(f"{where} holds half of a surrogate pair, which is no text")
    text = record.get("prompt") if isinstance(record, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise RequestError(f'{where} is no object with a prompt, such as {{"prompt": "a red cup"}}')
    return Prompt(text, {name: value for name, value in record.items() if name != "prompt"})
