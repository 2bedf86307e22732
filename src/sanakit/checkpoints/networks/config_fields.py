"""Reading the fields of a ``config.json``: a value of another kind, or without bounds, is refused by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from sanakit.common.errors import CheckpointError

DIFFUSERS_VERSION = "0.42.0"  # the release whose fields these are; diffusers reads it, and accepts older ones
MAX_COUNT, MAX_NUMBER = 65536, 10_000  # far above every published model
T = TypeVar("T")


def spread(name: str, value: Any, length: int) -> Sequence[Any]:
    return [value] * length if isinstance(value, str) else sequence(name, value)


def sequence(name: str, value: Any) -> Sequence[Any]:
    if not isinstance(value, (list, tuple)):
        raise CheckpointError(f"{name} in config.json is {value!r}; it should be a list")
    return value


def lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def count(fields: Mapping[str, Any], name: str, default: int, *, least: int = 1, most: int = MAX_COUNT) -> int:
    """A size or a number of things; bounded, so that a damaged file cannot ask for a network without end."""
    value = fields.get(name, default)
    if type(value) is not int or not least <= value <= most:  # True is an int, and no number of things
        raise CheckpointError(f"{name} in config.json is {value!r}; it should be a number from {least} to {most}")
    return value


def counts(fields: Mapping[str, Any], name: str, default: Sequence[int], *, least: int = 1) -> tuple[int, ...]:
    return tuple(count({name: value}, name, 0, least=least) for value in sequence(name, fields.get(name, default)))


def number(fields: Mapping[str, Any], name: str, default: float, *, most: float = MAX_NUMBER) -> float:
    value = fields.get(name, default)
    if type(value) not in (int, float) or not 0 < value <= most:
        raise CheckpointError(f"{name} in config.json is {value!r}; it should be above 0, at most {most}")
    return float(value)


def flag(fields: Mapping[str, Any], name: str, default: bool) -> bool:
    value = fields.get(name, default)
    if not isinstance(value, bool):
        raise CheckpointError(f"{name} in config.json is {value!r}; it should be true or false")
    return value


def choose(name: str, value: Any, known: Mapping[str, T]) -> T:
    if not isinstance(value, str) or value not in known:
        raise CheckpointError(f"{name} in config.json is {value!r}; sanakit knows {', '.join(known)}")
    return known[value]


def require(fields: Mapping[str, Any], name: str, expected: Any, *, default: Any = None) -> None:
    """Refuse a field that would need another network than ours."""
    found = fields.get(name, default)
    if found is not None and found != expected:
        raise CheckpointError(f"{name} in config.json is {found!r}; sanakit's network computes {expected!r} only")
