"""``words.json``: what is in it is checked once, where it is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from sanakit.checkpoints.bundle import ModelBundle, save_bundle
from sanakit.checkpoints.editing.describe import describe
from sanakit.checkpoints.identity.words import VERSION, read_words
from sanakit.cli.info import vocabulary_of
from sanakit.common.errors import CheckpointError
from sanakit.worlds.words import table

STARTER = Path(str(resources.files("sanakit").joinpath("starter", "words.json")))


def test_what_training_writes_is_read() -> None:
    assert table.VERSION == VERSION
    assert read_words(STARTER) == json.loads(STARTER.read_text("utf-8"))


def test_lists_may_be_missing_and_what_is_not_known_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "words.json"
    path.write_text(json.dumps({"things": [{"name": "cat", "plural": "cats", "weight": 4}], "later": 1}))
    assert vocabulary_of(read_words(path)) == {"objects": ["cat"]}


def first(content: dict[str, Any], **changes: Any) -> None:
    content["things"][0] |= changes


BROKEN: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda words: words.update(version=99), "is of version 99, and this sanakit reads version 1"),
    (lambda words: words.update(version="1"), "version must be a whole number"),
    (lambda words: words.pop("things"), "things is missing"),
    (lambda words: words.update(things=None), "things must be a list, not None"),
    (lambda words: words["things"].insert(1, "cat"), "things[1] must be an object, not 'cat'"),
    (lambda words: words["things"][0].pop("plural"), "things[0].plural is missing"),
    (lambda words: first(words, name=" "), "things[0].name must be a text, not ' '"),
    (lambda words: first(words, name="\ud800"), "things[0].name must be a text, not '\\ud800'"),
    (lambda words: first(words, names=[]), "things[0].names must be an object"),
    (lambda words: first(words, names={"de": ["Flugzeug", ""]}), "things[0].names.de[1] must be a text"),
    (lambda words: first(words, synonyms=[["plane"]]), "things[0].synonyms[0] must be a list of 2, not ['plane']"),
    (lambda words: words.update(colours=5), "colours must be a list, not 5"),
    (lambda words: words.update(sizes=["small"]), "sizes must be an object"),
    (lambda words: words.update(untrained={"violin": "car"}), "untrained.violin must be a list, not 'car'"),
    (lambda words: words.update(untrained_emoji=[]), "untrained_emoji must be an object"),
    (lambda words: words.update(tells_unknown="no"), "tells_unknown must be true or false"),
    (lambda words: words.update(languages=[]), "languages must be an object"),
    (lambda words: words["languages"].update(de={"words": {"red": None}}), "languages.de.words.red must be a list"),
    (lambda words: words["languages"].update(de={"compounds": 1}), "languages.de.compounds must be true or false"),
]


@pytest.mark.parametrize(("broken", "message"), BROKEN)
def test_a_broken_entry_is_named(tmp_path: Path, broken: Callable[[dict[str, Any]], object], message: str) -> None:
    content = json.loads(STARTER.read_text("utf-8"))
    broken(content)
    path = tmp_path / "words.json"
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError) as error:
        read_words(path)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("[1]", "where a JSON object was expected"), ("{", "not valid JSON"), ("[" * 200_000, "nested too deeply")],
)
def test_what_is_no_table_is_told(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "words.json").write_text(text)
    with pytest.raises(CheckpointError, match=message):
        read_words(tmp_path / "words.json")


def test_a_model_with_a_broken_table_is_not_described(tiny_bundle: ModelBundle, tmp_path: Path) -> None:
    save_bundle(tiny_bundle, tmp_path / "model")
    (tmp_path / "model" / "words.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"words\.json: things is missing"):
        describe(tmp_path / "model")
