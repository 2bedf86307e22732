"""Configs to plain mappings and back."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Literal

import pytest
import yaml

from sanakit.common.config import from_mapping, json_values, read_yaml, to_mapping
from sanakit.common.errors import ConfigError
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig
from sanakit.models.presets import DC_AE_PRESETS, LINEAR_DIT_PRESETS
from sanakit.models.transformers.linear_dit import LinearDiTConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Circle:
    type: Literal["circle"] = "circle"
    radius: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    type: Literal["box"] = "box"
    sides: tuple[int, int]
    filled: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    shape: Circle | Box
    title: str | None = None
    more: tuple[Circle | Box, ...] = ()
    scale: float = 1.0
    colour: Literal["red", "blue"] = "red"


@dataclass(frozen=True, kw_only=True, slots=True)
class Named:
    title: str
    others: tuple[str, ...] = ()


DRAWINGS = [
    Drawing(shape=Circle(radius=2.0)),
    Drawing(
        shape=Box(sides=(3, 4), filled=False), title="two", more=(Circle(radius=0.5), Box(sides=(1, 2))), colour="blue"
    ),
]


@pytest.mark.parametrize("drawing", DRAWINGS, ids=["circle", "box"])
def test_unions_come_back_as_what_they_were(drawing: Drawing) -> None:
    assert from_mapping(Drawing, json.loads(json.dumps(to_mapping(drawing)))) == drawing


@pytest.mark.parametrize("config", [*LINEAR_DIT_PRESETS.values(), *DC_AE_PRESETS.values()])
def test_presets_come_back_from_json(config: LinearDiTConfig | DCAutoencoderConfig) -> None:
    assert from_mapping(type(config), json.loads(json.dumps(to_mapping(config)))) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": {"type": "star"}}, "Drawing.shape.type='star' is not one of 'circle', 'box'"),
        ({"shap": {}}, "Drawing has no setting 'shap'; did you mean 'shape'?"),
        ({"zzz": 1}, "it knows shape, title, more, scale, colour"),
        ({"colour": "green"}, "Drawing.colour='green' is not one of 'red', 'blue'"),
        ({"scale": "wide"}, "Drawing.scale='wide' must be of type float"),
        ({"scale": True}, "Drawing.scale=True must be of type float"),
        ({"title": 5}, "Drawing.title=5 must be of type str; in YAML a text"),
        ({"title": "a\0"}, "Drawing.title='a\\x00' holds a zero byte"),
        ({"more": "abc"}, "Drawing.more='abc' must be a list"),
        ({"more": [{"type": "box", "sides": [1]}]}, "Drawing.more[0].sides must hold 2 values, not 1"),
        ({"shape": {"type": "box", "sides": [1, 2.5]}}, "Drawing.shape.sides[1]=2.5 must be of type int"),
        ({"shape": {"type": "box", "sides": [1, 2], "fill": 1}}, "did you mean 'filled'?"),
        ({"shape": {"type": "circle"}}, "Drawing.shape misses the required setting radius"),
        ({"shape": {"type": "star", "radius": 1}}, "'star' is not one of 'circle'"),
        ({"shape": 3}, "Drawing.shape must be a mapping of settings, not 3"),
    ],
    ids=str,
)
def test_a_wrong_mapping_is_refused_with_the_place_and_the_remedy(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_mapping(Drawing, {**to_mapping(DRAWINGS[0]), **changes})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_settings_are_all_named() -> None:
    with pytest.raises(ConfigError, match="misses the required settings hidden_size, num_layers, cross_head_dim"):
        from_mapping(LinearDiTConfig, {})


def test_numbers_as_yaml_writes_them() -> None:
    """YAML 1.1 reads ``1e-3`` as text and ``1`` as a whole number; both are floats to a float setting."""
    assert from_mapping(Circle, {"radius": "1e-3"}) == Circle(radius=1e-3)
    radius = from_mapping(Circle, {"radius": 1}).radius
    assert radius == 1.0
    assert isinstance(radius, float)


def test_the_checks_of_the_config_itself_still_run() -> None:
    preset = LINEAR_DIT_PRESETS["sana-600m-1024"]
    with pytest.raises(ConfigError, match="head_dim=33"):
        from_mapping(LinearDiTConfig, {**to_mapping(preset), "head_dim": 33})
    assert from_mapping(LinearDiTConfig, {**to_mapping(preset), "num_layers": 3}) == replace(preset, num_layers=3)


@pytest.mark.parametrize("text", ["[" * 50_000, "a: !!bool x", "!!timestamp x", "!!int x", "!!float x", "2024-99-99"])
def test_yaml_that_is_none_is_an_error_of_yaml(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        read_yaml(text)


@pytest.mark.parametrize(
    "word", ["on", "Off", "YES", "no", "true", "null", "~", "", "12", "1_000", "1.5", "2026-11-30"]
)
def test_a_word_that_yaml_reads_as_something_else_is_to_be_quoted(word: str) -> None:
    assert from_mapping(Named, read_yaml(f"{{title: '{word}'}}")) == Named(title=word)
    for text in (f"title: {word}", f"{{title: a, others: [b, {word or '~'}]}}"):
        with pytest.raises(ConfigError, match=r"Named\.\w+(\[1\])?=.* must be of type str; in YAML .* put into quotes"):
            from_mapping(Named, read_yaml(text))


def test_json_that_is_nested_without_end_is_an_error_of_the_text() -> None:
    assert json_values(b'\xef\xbb\xbf{"a": [1]}') == {"a": [1]}
    with pytest.raises(ValueError, match="nested too deeply"):
        json_values("[" * 200_000)
