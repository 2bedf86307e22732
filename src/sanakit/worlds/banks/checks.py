"""What must hold of a bank, be it written or read; whatever does not is told with its place."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Literal, get_args, get_origin

from sanakit.common.errors import RequestError
from sanakit.worlds.banks.things import Look, Person, Place, Thing

MAX_SIDE = 4096  # pixels of a picture; a larger one is refused before it is decoded
Fits = Callable[[Any], bool]


def check_contents(things: Sequence[Thing], places: Sequence[Place], people: Sequence[Person]) -> None:
    """Types, names that are there once, and that everything has something to show and to be called.

    Raises:
        RequestError: what is wrong, with its place as in ``bank.json``.
    """
    for number, thing in enumerate(things):
        _check_thing(thing, f"things[{number}]")
    for number, place in enumerate(places):
        where = f"places[{number}]"
        _check_fields(place, where)
        _need(place.name and place.wordings and all(place.wordings), where, "has no name or no wordings")
    for number, person in enumerate(people):
        where = f"people[{number}]"
        _check_fields(person, where, but="look")
        _need("kind" in person.parts, where, "has no part 'kind'")
        _check_look(person.look, f"{where}.look")
    looks = [look for thing in things for look in thing.looks] + [person.look for person in people]
    _check_once("things are called", [thing.name for thing in things])
    _check_once("places are called", [place.name for place in places])
    _check_once("looks have the id", [look.id for look in looks])


def check_pictures(
    things: Iterable[Thing], places: Iterable[Place], people: Iterable[Person], members: Container[str]
) -> None:
    """Everything has its picture.

    Raises:
        RequestError: how many are missing, and one of them.
    """
    looks = [look for thing in things for look in thing.looks] + [person.look for person in people]
    needed = [view.member for look in looks for view in look.views] + [place.member for place in places]
    if missing := [name for name in needed if name not in members]:
        raise RequestError(f"{len(missing)} pictures of the bank are missing, among them {missing[0]}")


def is_of(hint: Any, value: Any) -> bool:
    """Whether a plain value is of a type as a field of a dataclass has it."""
    return _fits(hint)(value)


def _check_thing(thing: Thing, where: str) -> None:
    _check_fields(thing, where, but="looks")
    _need(thing.name and thing.plural, where, "has no name or no plural")
    _need(thing.looks, where, f"({thing.name}) has no looks")
    _need(thing.size_cm is None or min(thing.size_cm) > 0, where, f".size_cm={thing.size_cm} is not above 0")
    for number, look in enumerate(thing.looks):
        _check_look(look, f"{where}.looks[{number}]")


def _check_look(look: Look, where: str) -> None:
    _check_fields(look, where, but="views")
    _need(look.views, where, f"({look.id}) has no views")
    for number, view in enumerate(look.views):
        _check_fields(view, f"{where}.views[{number}]")
        if not 1 <= min(view.size) <= max(view.size) <= MAX_SIDE:
            raise RequestError(f"{where}.views[{number}].size={view.size} is not of 1 to {MAX_SIDE} pixels")


def _need(holds: object, where: str, wrong: str) -> None:
    if not holds:
        raise RequestError(f"{where}{'' if wrong.startswith('.') else ' '}{wrong}")


def _check_once(what: str, names: Sequence[str]) -> None:
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise RequestError(f"two {what} {twice[0]!r}; each must be there once")


def _check_fields(value: Any, where: str, but: str = "") -> None:
    kind_of: Any = type(value)
    for name, kind, fits in _fields(kind_of):
        if name != but and not fits(getattr(value, name)):
            raise RequestError(f"{where}.{name}={_short(getattr(value, name))} must be {kind}")


@cache
def _fields(cls: Any) -> tuple[tuple[str, str, Fits], ...]:
    hints = typing.get_type_hints(cls)
    return tuple((field.name, _named(hints[field.name]), _fits(hints[field.name])) for field in dataclasses.fields(cls))


def _named(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return f"one of {', '.join(get_args(hint))}"
    return f"of type {hint.__name__ if isinstance(hint, type) and not get_args(hint) else hint}"


def _short(value: object) -> str:
    return text if len(text := repr(value)) <= 60 else f"{text[:57]}..."


@cache
def _fits(hint: Any) -> Fits:
    origin, args = get_origin(hint), get_args(hint)
    if hint is float:
        return lambda value: type(value) in (int, float) and math.isfinite(value)
    if origin is Literal:
        return lambda value: isinstance(value, str) and value in args
    if origin is types.UnionType:
        return lambda value: any(_fits(arg)(value) for arg in args)
    if origin is tuple and args[-1] is Ellipsis:
        return lambda value: isinstance(value, tuple) and all(map(_fits(args[0]), value))
    if origin is tuple:
        return lambda value: (
            isinstance(value, tuple)
            and len(value) == len(args)
            and all(_fits(arg)(item) for arg, item in zip(args, value, strict=True))
        )
    if origin is Mapping:
        return lambda value: (
            isinstance(value, Mapping) and all(map(_fits(args[0]), value)) and all(map(_fits(args[1]), value.values()))
        )
    return lambda value: type(value) is hint
