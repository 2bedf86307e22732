"""The words that a model was trained on, ``words.json`` in a model folder, checked where they are read.

What is in the file stands at `words_of` in ``worlds/words``, which writes it. Every list may be missing but ``things``,
and an entry that this version does not know is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from sanakit.checkpoints.files.reader import read_json
from sanakit.common.errors import CheckpointError

VERSION = 1
"""Of the file, the newest that is read."""


Text = Annotated[str, Field(pattern=r"[^\s\x1c-\x1f]")]
"""Not blank. A lone surrogate, a letter of JSON that no terminal and no file takes, pydantic refuses by itself."""
Texts = list[Text]
TextsByName = dict[str, Texts]


class _Thing(BaseModel):
    name: Text
    plural: Text
    synonyms: list[Annotated[Texts, Field(min_length=2, max_length=2)]] = []
    keywords: Texts = []
    emoji: Texts = []
    names: TextsByName = {}


class _Language(BaseModel):
    name: Text = "English"
    endings: Texts = []
    compounds: bool = False
    adjectives_after: bool = False
    relations_after: bool = False
    numbers_after: bool = False
    negation_after: bool = False
    other: Texts = []
    words: TextsByName = {}


class _Table(BaseModel):
    things: list[_Thing]
    colours: Texts = []
    numbers: Texts = []
    positions: Texts = []
    grounds: Texts = []
    other_words: Texts = []
    sizes: TextsByName = {}
    views: TextsByName = {}
    styles: TextsByName = {}
    places: TextsByName = {}
    people: TextsByName = {}
    motions: TextsByName = {}
    speeds: TextsByName = {}
    untrained: TextsByName = {}
    untrained_emoji: dict[str, Text] = {}
    tells_unknown: bool = True
    languages: dict[str, _Language] = {}


_KINDS = {
    "list_type": "a list", "too_short": "a list of 2", "too_long": "a list of 2", "dict_type": "an object",
    "model_type": "an object", "bool_type": "true or false",
}  # fmt: skip
"""What a value had to be, by the kind of pydantic's error; of all others a text."""


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
    try:
        _Table.model_validate(content, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in first["loc"])[1:]
        kind = _KINDS.get(first["type"], "a text")
        fault = "is missing" if first["type"] == "missing" else f"must be {kind}, not {_shown(first['input'])}"
        raise CheckpointError(f"{path}: {place} {fault}") from None
    return content


def _shown(value: object) -> str:
    """Short, and in ASCII: a damaged text may hold what cannot be printed."""
    shown = ascii(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
