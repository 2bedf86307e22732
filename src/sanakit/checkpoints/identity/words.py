"""The words that a model was trained on, ``words.json`` in a model folder, checked where they are read.

What is in the file stands at `words_of` in ``worlds/words``, which writes it. Every list may be missing but ``things``,
and an entry that this version does not know is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sanakit.checkpoints.files.reader import read_json
from sanakit.common.errors import CheckpointError

VERSION = 1
"""Of the file, the newest that is read."""

Check = Callable[[object, str], None]
"""Raises `CheckpointError` unless a value is as it must be; told the value and its place in the file."""


def read_words(path: Path) -> Mapping[str, Any]:
    """The table of words of a model, as plain values.

    Raises:
        CheckpointError: it is no JSON, of a newer version, or an entry of it is missing or of another kind; the
            message names file and entry.
    """
    content = read_json(path)
    version = content.get("version", VERSION)
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise CheckpointError(f"{path}: version must be a whole number from 1, not {_shown(version)}")
    if version > VERSION:
        raise CheckpointError(
            f"{path} is of version {version}, and this sanakit reads version {VERSION}; a newer sanakit reads it"
        )
    _TABLE(content, f"{path}:")
    return content


def _text(value: object, where: str) -> None:
    """A lone surrogate is a letter of JSON that no terminal and no file takes."""
    if not isinstance(value, str) or not value.strip() or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise CheckpointError(f"{where} must be a text, not {_shown(value)}")


def _truth(value: object, where: str) -> None:
    if not isinstance(value, bool):
        raise CheckpointError(f"{where} must be true or false, not {_shown(value)}")


def _list_of(check: Check, length: int | None = None) -> Check:
    def checked(value: object, where: str) -> None:
        if not isinstance(value, list) or length not in (None, len(value)):
            raise CheckpointError(f"{where} must be a list{f' of {length}' if length else ''}, not {_shown(value)}")
        for index, each in enumerate(value):
            check(each, f"{where}[{index}]")

    return checked


def _mapping_to(check: Check) -> Check:
    def checked(value: object, where: str) -> None:
        for name, each in _object(value, where).items():
            check(each, f"{where}.{name}")

    return checked


def _entries(required: Mapping[str, Check], **others: Check) -> Check:
    def checked(value: object, where: str) -> None:
        there = _object(value, where)
        joined = f"{where} " if where.endswith(":") else f"{where}."
        for name, check in {**required, **others}.items():
            if name in there:
                check(there[name], f"{joined}{name}")
            elif name in required:
                raise CheckpointError(f"{joined}{name} is missing")

    return checked


def _object(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise CheckpointError(f"{where} must be an object, not {_shown(value)}")
    return value


def _shown(value: object) -> str:
    """Short, and in ASCII: a damaged text may hold what cannot be printed."""
    shown = ascii(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


_TEXTS = _list_of(_text)
_THING = _entries(
    {"name": _text, "plural": _text},
    synonyms=_list_of(_list_of(_text, length=2)),
    keywords=_TEXTS,
    emoji=_TEXTS,
    names=_mapping_to(_TEXTS),
)
_LANGUAGE = _entries(
    {},
    name=_text,
    endings=_TEXTS,
    compounds=_truth,
    adjectives_after=_truth,
    relations_after=_truth,
    numbers_after=_truth,
    other=_TEXTS,
    words=_mapping_to(_TEXTS),
)
_TABLE = _entries(
    {"things": _list_of(_THING)},
    **dict.fromkeys(("colours", "numbers", "positions", "grounds", "other_words"), _TEXTS),
    **dict.fromkeys(("sizes", "views", "styles", "places", "people", "untrained"), _mapping_to(_TEXTS)),
    untrained_emoji=_mapping_to(_text),
    tells_unknown=_truth,
    languages=_mapping_to(_LANGUAGE),
)
