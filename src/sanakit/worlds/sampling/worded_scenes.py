"""Scenes for given words: the combination is chosen, all else is drawn as in random scenes."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.random import Generator

from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.banks.things import Style
from sanakit.worlds.sampling.casting import Cast, Stock, Wanted, cast_of, choose, only, stock_of
from sanakit.worlds.sampling.holdout import belongs_to
from sanakit.worlds.sampling.layouts import Floor, place_alike, place_pair, place_single
from sanakit.worlds.sampling.random_scenes import CARRIED_GROUPS, STYLES, STYLES_IN_PLACES, draw_camera, floor_for
from sanakit.worlds.scenes.description import Ground, Kind, Relation, Scene, SceneObject, ViewWord
from sanakit.worlds.scenes.vocabulary import CARRIERS

WHITE = Ground()
_NUM_TRIES = 60  # draws of looks and places before the words are said not to go together


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """What a prompt says: one name, or two with a relation; ``colour`` is of the first thing."""

    names: tuple[str, ...]
    colour: str | None = None
    count: int = 1
    relation: Relation | None = None
    ground: Ground = WHITE
    view: ViewWord | None = None
    style: Style | None = None


def scene_of(words: Words, bank: Bank, rng: Generator) -> Scene | None:
    """A scene of which the words are true; None if the bank cannot show them."""
    stock = stock_of(bank)
    for _ in range(_NUM_TRIES):
        if (scene := _draw(words, stock, rng)) is not None:
            return scene
    return None


def wanted_for(ground: Ground, style: Style | None, view: ViewWord | None, stock: Stock, rng: Generator) -> Wanted:
    """What these words ask of things; a style that no word tells is drawn."""
    shares = STYLES_IN_PLACES if ground.kind == "place" else STYLES
    there = only(shares, stock.of_style) or dict.fromkeys(stock.of_style, 1.0)
    drawn: Style = style if style is not None else choose(there, rng)
    return Wanted(ground=ground, style=drawn, told=style is not None, view=view)


def is_new(words: Words) -> bool:
    """Whether training never shows these words together."""
    nowhere = (0.0, 0.0, 1.0, 1.0)
    colours = (words.colour, None)
    told = [SceneObject(name=n, look="", colour=c, box=nowhere) for n, c in zip(words.names, colours, strict=False)]
    kind: Kind = "pair" if len(told) == 2 else "count" if words.count > 1 else "single"
    scene = Scene(kind=kind, objects=tuple(told * words.count), ground=words.ground, view=words.view)
    return belongs_to(scene, "heldout")


def can_stand_on(name: str, carrier: str, bank: Bank) -> bool:
    """Whether the one thing may be drawn on the other."""
    thing = bank.things[name]
    return carrier in CARRIERS and thing.group in CARRIED_GROUPS and not thing.floats


def _draw(words: Words, stock: Stock, rng: Generator) -> Scene | None:
    wanted = wanted_for(words.ground, words.style, words.view, stock, rng)
    casts = list[Cast]()
    for name, colour in zip(words.names, (words.colour, None), strict=False):
        cast = cast_of(name, colour, wanted, stock, rng)
        if cast is None:
            return None
        casts.append(cast)
    kind, objects = _placed(words, casts, floor_for(wanted, casts[0], rng), rng)
    if objects is None:
        return None
    camera = draw_camera(rng, steep=kind == "count")
    return Scene(
        kind=kind, objects=tuple(objects), ground=words.ground, camera=camera, relation=words.relation,
        view=words.view, style=words.style,
    )  # fmt: skip


def _placed(words: Words, casts: list[Cast], floor: Floor, rng: Generator) -> tuple[Kind, list[SceneObject] | None]:
    if len(casts) == 2:
        return "pair", place_pair((casts[0], casts[1]), words.relation, floor, rng)
    if words.count > 1:
        return "count", place_alike(casts * words.count, floor, rng)
    return "single", [place_single(casts[0], floor, None, rng)]
