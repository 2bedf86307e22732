"""The list of models that are taken, ``models.yaml``, and what it makes of the packages' models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from sanakit.worlds.banks.things import Group
from sanakit.worlds.building.emoji.words import plural_of
from sanakit.worlds.building.models.furniture import Model


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A line of the list: a thing, and the names or ids of the models that show it."""

    name: str
    group: Group
    plural: str
    sources: tuple[str, ...]
    also: tuple[str, ...] = ()
    stand: bool = False
    turn: float = 0.0
    tint: bool = True


@cache
def model_list() -> tuple[Entry, ...]:
    """The things of the list, in its order."""
    return tuple(
        _entry(name, group, row or {}) for group, rows in _content()["things"].items() for name, row in rows.items()
    )


@cache
def other_names() -> Mapping[str, Mapping[str, str]]:
    """Our name -> language -> its name there, as ``names.yaml`` has them."""
    return _read("names.yaml")


@cache
def left_out() -> Mapping[str, str]:
    """Name or id of a model -> the reason why it is not taken."""
    return {name: reason for reason, names in _content()["leave out"].items() for name in names}


def chosen(models: Iterable[Model]) -> dict[str, list[Model]]:
    """The models of each thing of the list that has any; an id in the list goes before a name."""
    by_source = {source: entry.name for entry in model_list() for source in entry.sources}
    found: dict[str, list[Model]] = {entry.name: [] for entry in model_list()}
    for model in models:
        name = by_source.get(model.id)
        if name is None and model.id not in left_out():
            name = by_source.get(model.name)
        if name is not None:
            found[name].append(model)
    return {name: of_it for name, of_it in found.items() if of_it}


def _entry(name: str, group: Group, row: Mapping[str, Any]) -> Entry:
    own = {key: value for key, value in row.items() if key not in ("from", "plural", "also")}
    return Entry(
        name=name,
        group=group,
        plural=row.get("plural") or plural_of(name),
        sources=tuple(row.get("from") or [name[0].upper() + name[1:]]),
        also=tuple(row.get("also", ())),
        **own,
    )


@cache
def _content() -> Mapping[str, Any]:
    return _read("models.yaml")


def _read(name: str) -> Any:
    return yaml.safe_load(resources.files(__package__).joinpath(name).read_text(encoding="utf-8"))
