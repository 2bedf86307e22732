"""Frozen dataclasses to plain mappings and back, strictly: an unknown key is an error with the nearest right name.

pydantic's TypeAdapter over the same classes passes over unknown keys and takes 3.0 for a whole number, or, made strict,
refuses the lists and the ``1e-3`` of YAML; for a union it gives the errors of every member.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from sanakit.common.errors import ConfigError, SanakitError
from sanakit.common.version import __version__

T = TypeVar("T")


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
        raise ConfigError(f"{where}={value!r} must be of type {hint.__name__}")
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
