"""One meaning a name: what several things are called by in a language names the most usual of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from importlib import resources

from sanakit.worlds.banks.things import Thing

_MAIN, _FURTHER = 0, 1


def names_apart(things: Iterable[Thing]) -> tuple[Thing, ...]:
    """The same things, no two with one name in a language.

    The thing whose main name it is keeps it; of several, the one that ``usual.txt`` has first, then the one with the
    shorter English name. A thing that loses its main name is called by its next one, or has none there.
    """
    all_things = tuple(things)
    best: dict[tuple[str, str], tuple[int, int, int, str]] = {}
    for thing in all_things:
        for code, names in _all_names(thing).items():
            for place, name in enumerate(names):
                key, claim = (code, name.casefold()), _claim(thing, _MAIN if place == 0 else _FURTHER)
                best[key] = min(best.get(key, claim), claim)
    return tuple(_kept(thing, {key for key, claim in best.items() if claim[-1] == thing.name}) for thing in all_things)


def _claim(thing: Thing, place: int) -> tuple[int, int, int, str]:
    return place, _usual().get(thing.name, len(_usual())), len(thing.name), thing.name


def _kept(thing: Thing, own: set[tuple[str, str]]) -> Thing:
    kept = {
        code: [name for name in names if (code, name.casefold()) in own] for code, names in _all_names(thing).items()
    }
    return replace(
        thing,
        names={code: names[0] for code, names in kept.items() if names},
        more_names={code: tuple(names[1:]) for code, names in kept.items() if len(names) > 1},
    )


def _all_names(thing: Thing) -> dict[str, list[str]]:
    """By language, the main one first; words that differ only in capitals are one."""
    found: dict[str, list[str]] = {}
    for code, name in thing.names.items():
        alike = {each.casefold(): each for each in reversed((name, *thing.more_names.get(code, ())))}
        found[code] = list(dict.fromkeys(alike[each.casefold()] for each in (name, *thing.more_names.get(code, ()))))
    return found


@cache
def _usual() -> dict[str, int]:
    lines = resources.files(__package__).joinpath("usual.txt").read_text("utf-8").splitlines()
    names = [name.strip() for line in lines if not line.startswith("#") for name in line.split(",")]
    return {name: place for place, name in enumerate(filter(None, names))}
