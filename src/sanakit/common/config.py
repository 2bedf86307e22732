"""Frozen dataclasses to plain mappings and back, strictly: an unknown key is an error with the nearest right name.

pydantic's TypeAdapter over the same classes passes over unknown keys and takes 3.0 for a whole number, or, made strict,
refuses the lists and the ``1e-3`` of YAML; for a union it gives the errors of every member.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from sanakit.common.errors import ConfigError, SanakitError
from sanakit.common.version import __version__

T = TypeVar("T")
QUOTES = "; in YAML a text that is on, off, yes, no, true, false, null, a number or a date is put into quotes"
_MAX_YAML_VALUES = 100_000  # recipes have some hundred


def json_values(text: str | bytes) -> Any:
    """Plain values of a JSON text.

    Raises:
        ValueError: it is none, or is nested too deeply, which the standard library tells as an error of this program.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


CONFIGS_WITH_CODE = ("config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json")
"""Of a model of transformers: those that may name classes of its own."""


def code_of_others(path: Path, own: str) -> str | None:
    """The repository whose code such a config asks for, where that is not its ``own``."""
    try:
        content = json_values(path.read_bytes())
    except ValueError:  # which whoever reads it tells
        return None
    named = re.findall(r'"([^"]*?)--', json.dumps(content.get("auto_map"))) if isinstance(content, dict) else []
    return next((repo for repo in named if repo != own), None)


def read_yaml(text: str) -> Any:
    """Plain values of a YAML text.

    Keys that YAML 1.1 takes for truth values, such as the relation ``on``, are texts: no setting is called True.

    Raises:
        yaml.YAMLError: it is none, or it grows beyond every recipe where its aliases are written out.
    """
    import yaml

    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is not None and _num_values(node, {}) > _MAX_YAML_VALUES:
            raise yaml.MarkedYAMLError(problem=f"it holds more than {_MAX_YAML_VALUES} values", problem_mark=None)
        if node is None:
            return None
        _read_keys_as_texts(node, set())
        return loader.construct_document(node)
    except RecursionError:
        raise yaml.MarkedYAMLError(problem="it is nested too deeply") from None
    except (ValueError, KeyError, AttributeError) as error:  # a date or a truth value that is none, too many digits
        raise yaml.MarkedYAMLError(problem=str(error)) from None
    finally:
        loader.dispose()


def _read_keys_as_texts(node: Any, known: set[int]) -> None:
    if node.id == "scalar" or id(node) in known:
        return
    known.add(id(node))
    for each in node.value:
        key, value = each if node.id == "mapping" else (None, each)
        if key is not None and key.tag == "tag:yaml.org,2002:bool":
            key.tag = "tag:yaml.org,2002:str"
        _read_keys_as_texts(value, known)


def _num_values(node: Any, known: dict[int, float]) -> float:
    """Values in a node of YAML, those of an alias as often as it is used; infinite where it is within itself."""
    if id(node) not in known:
        known[id(node)] = math.inf
        inner = [each for pair in node.value for each in pair] if node.id == "mapping" else node.value
        known[id(node)] = 1 + (0 if node.id == "scalar" else sum(_num_values(each, known) for each in inner))
    return known[id(node)]


def check_format(
    content: Mapping[str, Any], newest: int, where: str, *, error: type[SanakitError] = ConfigError
) -> None:
    """Raise ``error`` where a file's ``format`` is above ``newest``, the last that this version reads, or no number.

    The number rises where an older reader would go wrong; what was written before there were numbers has none.
    """
    number = content.get("format", 1)
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise error(f"{where}: format={number!r} must be a whole number from 1")
    if number > newest:
        raise error(
            f"{where} is of format {number}, and this sanakit {__version__} reads up to {newest}: it is newer, not "
            f"damaged, and a newer sanakit reads it"
        )


def to_mapping(config: Any) -> Any:
    """A config as dicts, lists and plain values, ready for JSON or YAML."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {field.name: to_mapping(getattr(config, field.name)) for field in dataclasses.fields(config)}
    if isinstance(config, (tuple, list)):
        return [to_mapping(item) for item in config]
    return config


def from_mapping(cls: type[T], mapping: Mapping[str, Any], *, where: str = "") -> T:
    """Build the dataclass ``cls`` from plain values.

    Raises:
        ConfigError: an unknown or missing key, or a value of another type; the message names its place.
    """
    where = where or cls.__name__
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{where} must be a mapping of settings, not {mapping!r}")
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in mapping:
        if key not in fields:
            close = difflib.get_close_matches(str(key), list(fields), n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it knows {', '.join(fields)}"
            raise ConfigError(f"{where} has no setting {key!r}; {hint}")
    hints = typing.get_type_hints(cls)
    values = {key: _convert(hints[key], value, f"{where}.{key}") for key, value in mapping.items()}
    missing = [
        name
        for name, field in fields.items()
        if name not in values and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{where} misses the required setting{'s' * (len(missing) > 1)} {', '.join(missing)}")
    return cls(**values)


def value_of_text(cls: type | None, settings: Any, names: Sequence[str], text: str, plain: Any) -> Any:
    """What a text means as the setting ``names`` of ``cls``: its characters where that takes a text, else ``plain``.

    Args:
        cls: the dataclass; None if it is not known.
        settings: the other settings, whose ``type`` decides between classes.
        plain: what the text is in YAML, for all that is no text. So are what another type of the same setting takes
            (a list), and ``null`` where there may be none.
    """
    hints = [] if cls is None else _hints_at(cls, settings, names)
    literals = [hint for hint in hints if get_origin(hint) is Literal]
    if str not in hints and not any(text in get_args(hint) for hint in literals):
        return plain
    if type(None) in hints and text.strip() == "null":
        return None
    for hint in hints:
        if hint not in (str, type(None)) and plain is not None:
            with suppress(ConfigError):
                _convert(hint, plain, "")
                return plain
    return text


def _hints_at(hint: Any, values: Any, names: Sequence[str]) -> list[Any]:
    """The types that the setting ``names`` may have, within a value of type ``hint``."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return [found for arg in args for found in _hints_at(arg, values, names)]
    if not names:
        return [hint]
    first, *rest = names
    if dataclasses.is_dataclass(hint):
        named = values.get("type") if isinstance(values, Mapping) else None
        hints = typing.get_type_hints(hint)
        if first not in hints or (named is not None and named not in (_type_names(hint) or (named,))):
            return []
        return _hints_at(hints[first], values.get(first) if isinstance(values, Mapping) else None, rest)
    if origin is tuple and first.isdecimal():
        inner = args[0] if args[-1] is Ellipsis else dict(enumerate(args)).get(int(first))
        item = values[int(first)] if isinstance(values, (list, tuple)) and int(first) < len(values) else None
        return _hints_at(inner, item, rest)
    return _hints_at(args[1], None, rest) if origin in (dict, Mapping) else []


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _convert_union(args, value, where)
    if origin is Literal:
        if value not in args:
            raise ConfigError(f"{where}={value!r} is not one of {', '.join(map(repr, args))}")
        return value
    if origin is tuple:
        return _convert_tuple(args, value, where)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}={value!r} must be a mapping")
        return {
            _convert(args[0], key, f"a key of {where}"): _convert(args[1], item, f"{where}.{key}")
            for key, item in value.items()
        }
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else from_mapping(typing.cast(type, hint), value, where=where)  # type: ignore[arg-type]
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is float and isinstance(value, str):  # YAML 1.1 reads 1e-3 as text
        try:
            return float(value)
        except ValueError:
            pass
    if isinstance(hint, type) and (not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool)):
        remedy = QUOTES if hint is str and not isinstance(value, (list, Mapping)) else ""
        raise ConfigError(f"{where}={value!r} must be of type {hint.__name__}{remedy}")
    if hint is str and "\0" in value:
        raise ConfigError(f"{where}={value!r} holds a zero byte, which no text and no path has")
    return value


def _convert_union(args: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in args:
        return None
    _check_type_is_known(args, value, where)
    errors = []
    for arg in _named_first(args, value):
        try:
            return _convert(arg, value, where)
        except ConfigError as error:
            errors.append(error)
    raise errors[0]


def _check_type_is_known(args: tuple[Any, ...], value: Any, where: str) -> None:
    """A mapping whose ``type`` no member of a union has names none of them, so all are listed."""
    known = [name for arg in args for name in _type_names(arg)]
    if known and isinstance(value, Mapping) and "type" in value and value["type"] not in known:
        raise ConfigError(f"{where}.type={value['type']!r} is not one of {', '.join(map(repr, known))}")


def _named_first(args: tuple[Any, ...], value: Any) -> list[Any]:
    """The members of a union, the one whose ``type`` a mapping names first, so that its error is the one shown."""
    named = value.get("type") if isinstance(value, Mapping) else None
    members = [arg for arg in args if arg is not type(None)]
    return sorted(members, key=lambda arg: named is None or named not in _type_names(arg))


def _type_names(cls: Any) -> tuple[Any, ...]:
    hints = typing.get_type_hints(cls) if dataclasses.is_dataclass(cls) else {}
    return get_args(hints["type"]) if "type" in hints else ()


def _convert_tuple(args: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"{where}={value!r} must be a list")
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_convert(args[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if len(args) != len(value):
        raise ConfigError(f"{where} must hold {len(args)} values, not {len(value)}")
    return tuple(_convert(arg, item, f"{where}[{i}]") for i, (arg, item) in enumerate(zip(args, value, strict=True)))
