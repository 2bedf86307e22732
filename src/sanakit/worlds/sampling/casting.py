"""Which things of a bank a scene holds, and which look, view and colour each of them shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

from numpy.random import Generator

from sanakit.common.errors import RequestError
from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.banks.things import Look, Person, Style, Thing, View
from sanakit.worlds.scenes.description import Ground, SceneObject, ViewWord
from sanakit.worlds.scenes.vocabulary import COLOURS, SCENE_BACKGROUNDS

T = TypeVar("T")
K = TypeVar("K")

_COLOUR_SHARE = 0.38  # of the objects that can have a colour word have one
_SHAPE_COLOUR_SHARE = 0.80  # of circles, squares and triangles, which have no look of their own
_NATURAL_SHARE = 0.35  # of the colour words are the colour that the look has by itself
_FLAT_IN_PLACE_SHARE = 0.20  # how often a thing that is only drawn flat is taken into a place
_NUM_TRIES = 1000  # draws of a thing before a bank is said to have none that fits
_MIN_YAWS = 3  # a look with fewer has no sides that a word could tell
# What a thing shows while no word tells its side: mostly its front, as pictures of things do.
_UNTOLD_YAW, _UNTOLD_PITCH = 75.0, 45.0
_COLOUR_WORDS = tuple(COLOURS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cast:
    """A thing as it will be drawn, not yet placed; a person has no ``thing``."""

    name: str
    look: Look
    view: int
    colour: str | None = None
    thing: Thing | None = None
    parts: tuple[tuple[str, str], ...] = ()

    @property
    def aspect(self) -> float:
        width, height = self.look.views[self.view].size
        return width / height

    @property
    def floats(self) -> bool:
        return self.thing is not None and self.thing.floats

    def placed(self, box: tuple[float, float, float, float], *, shadow: bool = False, depth: int = 0) -> SceneObject:
        return SceneObject(
            name=self.name, look=self.look.id, view=self.view, colour=self.colour, box=box, shadow=shadow, depth=depth,
            parts=self.parts,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What the words of a scene ask of its things: ``told`` says that the style is one of the words."""

    ground: Ground
    style: Style
    told: bool = False
    view: ViewWord | None = None


class Stock:
    """A bank looked at once: which names there are for each style and each view word."""

    def __init__(self, bank: Bank) -> None:
        if not bank.things:
            raise RequestError(f"the bank {bank.name!r} has no things, and scenes are made of things")
        things = bank.things.values()
        self.things = bank.things
        self.names = tuple(bank.things)
        self.people: tuple[Person, ...] = bank.people
        self.places = tuple(bank.places)
        self.of_style: Mapping[Style, tuple[str, ...]] = {
            style: tuple(thing.name for thing in things if any(look.style == style for look in thing.looks))
            for style in sorted({look.style for thing in things for look in thing.looks})
        }
        self.of_view: Mapping[ViewWord, tuple[str, ...]] = {
            word: names
            for word in _VIEW_WORDS
            if (names := tuple(thing.name for thing in things if any(shows(look, word) for look in thing.looks)))
        }


@lru_cache(maxsize=4)
def stock_of(bank: Bank) -> Stock:
    return Stock(bank)


def draw_cast(names: Sequence[str], wanted: Wanted, stock: Stock, rng: Generator) -> Cast | None:
    """One of the names, each equally likely, as the words want it and as it can be seen before the ground; None if
    there seems to be none."""
    for _ in range(_NUM_TRIES):
        thing = stock.things[pick(names, rng)]
        look = _draw_look(thing, wanted, rng)
        if look is None:
            continue
        colour = _draw_colour(thing, look, rng)
        if not clashes(wanted.ground, look, colour):
            return Cast(name=thing.name, look=look, view=draw_view(look, wanted.view, rng), colour=colour, thing=thing)
    return None


def cast_of(name: str, colour: str | None, wanted: Wanted, stock: Stock, rng: Generator) -> Cast | None:
    """The named thing with this colour word, None for no word; None where the look that is drawn cannot be so."""
    thing = stock.things[name]
    look = _draw_look(thing, wanted, rng)
    if look is None or not may_be(look, colour) or clashes(wanted.ground, look, colour):
        return None
    return Cast(name=name, look=look, view=draw_view(look, wanted.view, rng), colour=colour, thing=thing)


def may_be(look: Look, colour: str | None) -> bool:
    """Whether the colour word is true of the look, or can be made so."""
    return colour is None or colour == look.natural or (look.tintable and colour in COLOURS)


def draw_person(people: Sequence[Person], rng: Generator) -> Cast:
    """A drawn person of whose parts one to three are told."""
    person = pick(people, rng)
    known = [(part, word) for part, word in sorted(person.parts.items()) if part != "kind"]
    told = sorted(rng.permutation(len(known))[: 1 + int(rng.integers(3))])
    parts = tuple(known[number] for number in told)
    return Cast(name=person.parts["kind"], look=person.look, view=draw_view(person.look, None, rng), parts=parts)


def shows(look: Look, word: ViewWord) -> bool:
    """Whether the look has several sides and this one is among them."""
    return len({view.yaw for view in look.views}) >= _MIN_YAWS and any(is_view(view, word) for view in look.views)


def draw_view(look: Look, word: ViewWord | None, rng: Generator) -> int:
    """The number of a view that the word is true of; without a word one from about the front."""
    numbers = [number for number, view in enumerate(look.views) if is_view(view, word)]
    return pick(numbers or range(len(look.views)), rng)


def clashes(ground: Ground, look: Look, colour: str | None) -> bool:
    """Whether a look, tinted or not, would be hard to see before this ground."""
    shown = colour or look.natural
    if ground.kind == "place":
        return False
    if ground.kind == "drawn":
        return shown in SCENE_BACKGROUNDS[ground.name]
    if shown == "white" and colour is None and ground.name == "white":
        return look.style == "flat"  # shaded looks stand out by their shades
    return shown is not None and shown in ground.name.split()


def _draw_look(thing: Thing, wanted: Wanted, rng: Generator) -> Look | None:
    """A look of the wanted style; if no word tells the style, another one will do."""
    looks: Sequence[Look] = [look for look in thing.looks if wanted.view is None or shows(look, wanted.view)]
    of_style = [look for look in looks if look.style == wanted.style]
    if not of_style and not wanted.told:
        of_style = [look for look in looks if look.style != "flat"] or list(looks)
    if not of_style:
        return None
    look = pick(of_style, rng)
    if look.style == "flat" and wanted.ground.kind == "place" and rng.random() >= _FLAT_IN_PLACE_SHARE:
        return None
    return look


def _draw_colour(thing: Thing, look: Look, rng: Generator) -> str | None:
    if thing.group == "person":  # their clothes have the colour, and the words would say that they have it
        return None
    if rng.random() >= (_SHAPE_COLOUR_SHARE if thing.group == "shape" else _COLOUR_SHARE):
        return None
    if look.natural is not None and (not look.tintable or rng.random() < _NATURAL_SHARE):
        return look.natural
    return pick(_COLOUR_WORDS, rng) if look.tintable else None


_VIEW_WORDS: tuple[ViewWord, ...] = ("front", "side", "behind", "above")


def is_view(view: View, word: ViewWord | None) -> bool:
    """Whether the word is true of the view; without a word, whether it is one from about the front."""
    from_front = abs((view.yaw + 180) % 360 - 180)  # 0 its front, 180 from behind
    match word:
        case None:
            return from_front <= _UNTOLD_YAW and view.pitch <= _UNTOLD_PITCH
        case "above":
            return view.pitch > _UNTOLD_PITCH
        case "front":
            return from_front <= 15 and view.pitch <= _UNTOLD_PITCH
        case "side":
            return 75 <= from_front <= 105 and view.pitch <= _UNTOLD_PITCH
        case "behind":
            return from_front >= 150 and view.pitch <= _UNTOLD_PITCH


def turned(cast: Cast, view: int) -> Cast:
    """The same from another side."""
    return replace(cast, view=view)


def pick(choices: Sequence[T], rng: Generator) -> T:
    """One of them, each equally likely."""
    return choices[int(rng.integers(len(choices)))]


def choose(shares: Mapping[K, float], rng: Generator) -> K:
    """One of the keys, as often as its share says; shares need not add up to one."""
    draw, total = rng.random() * sum(shares.values()), 0.0
    for key, share in shares.items():
        total += share
        if draw < total:
            return key
    return key


def only(shares: Mapping[K, float], there: Iterable[K]) -> dict[K, float]:
    """The shares of what is there."""
    known = set(there)
    return {key: share for key, share in shares.items() if key in known}
