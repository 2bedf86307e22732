"""What a text means as a setting, formats that are too new, code of others, and how much YAML is read."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from sanakit.common import config as module
from sanakit.common.config import check_format, code_of_others, from_mapping, read_yaml, value_of_text
from sanakit.common.errors import CheckpointError, ConfigError
from sanakit.worlds.sampling.mixture import Mixture


@dataclass(frozen=True, kw_only=True, slots=True)
class Files:
    type: Literal["files"] = "files"
    path: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Numbers:
    type: Literal["numbers"] = "numbers"
    path: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    data: Files | Numbers = field(default_factory=Files)
    name: str = ""
    words: tuple[str, ...] = ()
    pair: tuple[int, str] = (0, "")
    either: str | tuple[int, ...] = ""
    mode: Literal["auto", "off"] | bool = "auto"
    switch: Literal["on", "off"] = "on"
    shares: dict[str, float] = field(default_factory=dict)
    many: tuple[Files, ...] = ()


@pytest.mark.parametrize(
    ("name", "text", "settings", "expected"),
    [
        ("name", "1e-3", {}, "1e-3"),
        ("name", "null", {}, "null"),
        ("data.path", " null ", {"data": {"type": "files"}}, None),
        ("data.path", "007", {"data": {"type": "files"}}, "007"),
        ("data.path", "007", {"data": {"type": "numbers"}}, 7),
        ("data.path", "007", {}, 7),
        ("words.0", "12", {"words": ["a"]}, "12"),
        ("pair.0", "12", {}, 12),
        ("pair.1", "12", {}, "12"),
        ("either", "[1, 2]", {}, [1, 2]),
        ("either", "[a]", {}, "[a]"),
        ("mode", "auto", {}, "auto"),
        ("mode", "true", {}, True),
        ("mode", "maybe", {}, "maybe"),
        ("switch", "off", {}, "off"),
        ("shares.a", "0.5", {}, 0.5),
        ("many.0.path", "5", {"many": [{"type": "files"}]}, "5"),
        ("many.1.path", "5", {"many": [{"type": "numbers"}, {"type": "files"}]}, "5"),
        ("many.0.path", "5", {"many": [{"type": "numbers"}]}, 5),
        ("nothing.here", "5", {}, 5),
    ],
)
def test_a_text_is_its_characters_where_a_text_is_taken(name: str, text: str, settings: Any, expected: Any) -> None:
    plain = yaml.safe_load(text)
    found = value_of_text(Settings, settings, name.split("."), text, plain)
    assert (found, type(found)) == (expected, type(expected))
    assert value_of_text(None, settings, name.split("."), text, plain) == plain


def test_formats() -> None:
    for good in ({}, {"format": 1}, {"format": 3}):
        check_format(good, 3, "a card")
    with pytest.raises(
        CheckpointError, match=r"^a card is of format 4, and this sanakit .* reads up to 3: it is newer"
    ):
        check_format({"format": 4}, 3, "a card", error=CheckpointError)
    for wrong in (0, True, "1", 1.0, None):
        with pytest.raises(ConfigError, match=r"a card: format=.* must be a whole number from 1"):
            check_format({"format": wrong}, 3, "a card")


def test_whose_code_a_config_names(tmp_path: Path) -> None:
    def found(content: str) -> str | None:
        (tmp_path / "config.json").write_text(content)
        return code_of_others(tmp_path / "config.json", "me/own")

    mapped = {"AutoModel": "me/own--a.B", "AutoTokenizer": ["you/theirs--c.D", None]}
    assert found(json.dumps({"auto_map": mapped})) == "you/theirs"
    assert found(json.dumps({"auto_map": {"AutoModel": "me/own--a.B"}})) is None
    assert found(json.dumps({"auto_map": {"AutoModel": "a.B"}})) is None
    assert [found(text) for text in ("{}", "[]", "{half")] == [None, None, None]


def test_as_many_values_as_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_YAML_VALUES", 8)
    assert read_yaml("") is None
    assert read_yaml("[1, 2, 3, 4, 5, 6, 7]") == [1, 2, 3, 4, 5, 6, 7]  # and the list itself
    for text in ("[1, 2, 3, 4, 5, 6, 7, 8]", "a: &x [1, 2]\nb: *x", "&x [*x]"):
        with pytest.raises(yaml.YAMLError, match="more than 8 values"):
            read_yaml(text)
    assert read_yaml("a: &x [1]\nb: *x") == {"a": [1], "b": [1]}


def test_names_that_yaml_takes_for_truth_are_names() -> None:
    assert read_yaml("{on: 0.5, left: on, 1: [{no: no}]}") == {"on": 0.5, "left": True, 1: [{"no": False}]}
    with pytest.raises(ConfigError, match=r"a key of Mixture\.kinds=1 must be of type str"):
        from_mapping(Mixture, {"kinds": {1: 0.5}})


def test_where_a_nameless_mapping_stands() -> None:
    with pytest.raises(ConfigError, match=r"^Files must be a mapping of settings, not 3"):
        from_mapping(Files, 3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^recipe has no setting 'pat'; did you mean 'path'"):
        from_mapping(Files, {"pat": 1}, where="recipe")
