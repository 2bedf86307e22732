"""A recipe's file as plain values, and what ``--set`` changes in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from sanakit.common.config import read_yaml, value_of_text
from sanakit.common.errors import ConfigError, RequestError, SanakitError
from sanakit.data.sources.files import read_text

_UNREADABLE = object()
_MAX_BYTES = 10_000_000


def read_recipe(path: Path) -> dict[str, Any]:
    """A YAML file as plain values.

    Raises:
        RequestError: the file cannot be read, or is no mapping in YAML.
    """
    import yaml

    try:
        content = read_yaml(read_text(path, most=_MAX_BYTES))
    except ValueError as error:
        raise RequestError(f"the recipe {path} cannot be used: {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", "unreadable")
        raise RequestError(f"the recipe {path} is not YAML{place} ({problem})") from error
    if not isinstance(content, dict):
        raise RequestError(f"the recipe {path} holds {type(content).__name__} where settings were expected")
    return content


def apply_overrides(
    recipes: Sequence[Mapping[str, Any]],
    overrides: Sequence[str],
    check: Callable[[Mapping[str, Any]], object],
    class_of: Callable[[Mapping[str, Any]], type | None],
) -> list[dict[str, Any]]:
    """Copies of the recipes' settings, each with the overrides that fit it; of one recipe, all of them.

    Args:
        check: raises a ConfigError at settings that no recipe can have; asked where there are several recipes.
        class_of: the class of a recipe's settings, None if they name none.

    Raises:
        RequestError, ConfigError: an override fits no recipe at all.
    """
    changed = [deepcopy(dict(settings)) for settings in recipes]
    for override in overrides:
        problems: list[SanakitError] = []
        for index, settings in enumerate(changed):
            tried = deepcopy(settings)
            try:
                apply_override(tried, override, class_of(tried))
                if len(changed) > 1:
                    check(tried)
            except (RequestError, ConfigError) as problem:
                problems.append(problem)
            else:
                changed[index] = tried
        if len(problems) == len(changed):
            raise problems[0]
    return changed


def apply_override(settings: dict[str, Any], override: str, cls: type | None = None) -> None:
    """Put ``a.b.0.c=value`` into nested settings of a ``cls``, in place.

    The value of a text is its characters as they are; all others are read as YAML, so ``1e-3`` and ``true`` work.

    Raises:
        RequestError: it is not of that form, or goes into a plain value or beyond a list.
    """
    import yaml

    name, equals, text = override.partition("=")
    *parents, last = name.strip().split(".")
    if not equals or not last:
        raise RequestError(f"--set {override} has no form of name=value, such as stages.0.steps=500")
    place: Any = settings
    for depth, key in enumerate(parents):
        place = _enter(place, key, ".".join(parents[: depth + 1]), override)
    try:
        plain = read_yaml(text)
    except yaml.YAMLError:
        plain = _UNREADABLE
    value = value_of_text(cls, settings, [*parents, last], text, plain)
    if value is _UNREADABLE:
        raise RequestError(f"--set {override} has a value that is not YAML")
    if isinstance(place, list):
        place[_index(place, last, override)] = value
    elif isinstance(place, dict):
        place[last] = value
    else:
        raise RequestError(f"--set {override} goes into {'.'.join(parents)}, which is a plain value")


def _enter(place: Any, key: str, path: str, override: str) -> Any:
    if isinstance(place, list):
        return place[_index(place, key, override)]
    if isinstance(place, dict):
        inner = place.get(key)
        if inner is None:
            inner = place[key] = {}  # left to its defaults so far; the recipe's check knows whether it exists
        return inner
    raise RequestError(f"--set {override} goes into {path}, but what is before that is a plain value")


def _index(place: list[Any], key: str, override: str) -> int:
    if not key.isdecimal() or int(key) >= len(place):
        raise RequestError(f"--set {override} needs a number from 0 to {len(place) - 1} where it says {key!r}")
    return int(key)
