"""Drawing random scenes of a bank."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from numpy.random import Generator

from sanakit.common.errors import RequestError
from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.banks.things import Style
from sanakit.worlds.sampling.casting import (
    Cast,
    Stock,
    Wanted,
    choose,
    draw_cast,
    draw_person,
    draw_view,
    only,
    pick,
    stock_of,
    turned,
)
from sanakit.worlds.sampling.holdout import Split, belongs_to
from sanakit.worlds.sampling.layouts import Floor, place_alike, place_pair, place_single
from sanakit.worlds.sampling.mixture import KINDS, RELATION_SHARES, Draw, Mixture, shares_of
from sanakit.worlds.scenes.description import Camera, Ground, Relation, Scene, SceneObject, SizeWord, ViewWord
from sanakit.worlds.scenes.vocabulary import CARRIERS, DEFAULT_BACKGROUND, PLAIN_BACKGROUNDS, SCENE_BACKGROUNDS

GroundDraw = Literal["default", "plain", "graded", "drawn", "place"]

# What is drawn how often, beside what `Mixture` says.
_GROUNDS: Mapping[GroundDraw, float] = {
    "default": 0.42, "plain": 0.16, "graded": 0.08, "drawn": 0.10, "place": 0.24,
}  # fmt: skip
_NUMBERS: Mapping[int, float] = {2: 0.36, 3: 0.34, 4: 0.30}
_TOLD_STYLE_SHARE = 0.14
_TOLD_STYLES: Mapping[Style, float] = {"flat": 0.4, "3d": 0.3, "rendered": 0.3}
STYLES: Mapping[Style, float] = {"rendered": 0.42, "3d": 0.42, "flat": 0.16}
STYLES_IN_PLACES: Mapping[Style, float] = {"rendered": 0.55, "3d": 0.45}
_SIZE_SHARE, _VIEW_SHARE = 0.13, 0.13  # of the single objects
_VIEWS: Mapping[ViewWord, float] = {"front": 0.2, "side": 0.3, "behind": 0.3, "above": 0.2}
_SHADOW_SHARES: Mapping[Style, float] = {"rendered": 0.9, "3d": 0.4, "flat": 0.0}  # before plain grounds
_OTHER_SIDE_SHARE = 0.3  # of several alike are not all seen from one side
_TILTS, _VIEW_ANGLES = (10.0, 14.0, 18.0, 22.0), (60.0, 75.0)  # few, as each is a table
_STEEP_TILTS = (26.0, 30.0)  # for things that stand behind each other: they need much floor
_NUM_TRIES = 10_000  # draws before a bank is said to give no scene that is wanted
_NUM_CASTS = 100  # draws of three things that differ
CARRIED_GROUPS = ("animal", "food", "thing", "clothing")

_COLOURED = tuple(name for name in PLAIN_BACKGROUNDS if name != DEFAULT_BACKGROUND)


def sample_scene(rng: Generator, bank: Bank, split: Split = "train", *, mixture: Mixture | None = None) -> Scene:
    """Draw a scene that belongs to the split; what the bank lacks (places, people, sides) is left out.

    ``mixture`` says how often what is drawn, where it is given; all else comes as often as ever.

    Raises:
        RequestError: the bank has no things, too few for such a scene, or lacks what the mixture asks for.
    """
    stock = stock_of(bank)
    mixture = mixture or Mixture()
    kind = choose(_shares(stock, mixture, bank.name), rng)
    for _ in range(_NUM_TRIES):
        if (scene := _draw_scene(kind, stock, mixture, rng)) is not None and belongs_to(scene, split):
            return scene
    raise RequestError(f"the bank {bank.name!r} is too small: it gives no scene of kind {kind} and split {split!r}")


def _shares(stock: Stock, mixture: Mixture, name: str) -> Mapping[Draw, float]:
    possible = _possible(stock)
    shares = shares_of(possible, mixture.kinds)
    if not any(shares.values()) or any(share and kind not in possible for kind, share in mixture.kinds.items()):
        raise RequestError(
            f"mixture.kinds asks for what the bank {name!r} cannot give, whose scenes are of the kinds "
            f"{', '.join(possible)}; give shares to these"
        )
    return shares


def _possible(stock: Stock) -> Mapping[Draw, float]:
    """The usual shares of the kinds that the bank has what is needed for."""
    missing = {"person"} if not stock.people else set()
    if len(stock.names) < 4:
        missing |= {"relation", "pair", "trio"}
    return {kind: share for kind, share in KINDS.items() if kind not in missing}


def _draw_scene(kind: Draw, stock: Stock, mixture: Mixture, rng: Generator) -> Scene | None:
    match kind:
        case "single":
            return _single(stock, rng)
        case "count":
            return _count(stock, rng)
        case "person":
            return _person(stock, rng)
        case "trio":
            return _trio(stock, rng)
        case "relation":
            relation = choose(shares_of(RELATION_SHARES, mixture.relations), rng)
            return _pair(relation, stock, rng)
        case "pair":
            return _pair(None, stock, rng)


def _single(stock: Stock, rng: Generator) -> Scene | None:
    view, size = None, None
    draw = rng.random()
    if draw < _VIEW_SHARE and stock.of_view:
        view = choose(only(_VIEWS, stock.of_view), rng)
    elif draw > 1 - _SIZE_SHARE:
        size = pick(_SIZE_WORDS, rng)
    wanted = _wanted(stock, rng, view=view)
    cast = draw_cast(_names(wanted, stock), wanted, stock, rng)
    if cast is None:
        return None
    thing = place_single(cast, floor_for(wanted, cast, rng), size, rng)
    return Scene(
        kind="single", objects=(thing,), ground=wanted.ground, camera=draw_camera(rng), size=size, view=view,
        style=wanted.style if wanted.told else None,
    )  # fmt: skip


def _count(stock: Stock, rng: Generator) -> Scene | None:
    wanted = _wanted(stock, rng)
    cast = draw_cast(_names(wanted, stock), wanted, stock, rng)
    if cast is None:
        return None
    casts = [cast] * choose(_NUMBERS, rng)
    if rng.random() < _OTHER_SIDE_SHARE:
        casts = [turned(cast, draw_view(cast.look, None, rng)) for cast in casts]
    objects = place_alike(casts, floor_for(wanted, cast, rng), rng)
    return _scene("count", objects, wanted, rng)


def _trio(stock: Stock, rng: Generator) -> Scene | None:
    wanted = _wanted(stock, rng)
    casts: list[Cast] = []
    for _ in range(_NUM_CASTS):
        cast = draw_cast(_names(wanted, stock), wanted, stock, rng)
        if cast is None:
            return None
        if cast.name not in [other.name for other in casts]:
            casts.append(cast)
        if len(casts) == 3:
            return _scene("trio", place_alike(casts, floor_for(wanted, casts[0], rng), rng), wanted, rng)
    return None


def _pair(relation: Relation | None, stock: Stock, rng: Generator) -> Scene | None:
    wanted = _wanted(stock, rng, in_place=relation not in ("above", "below"))
    names = _names(wanted, stock)
    carriers = [name for name in names if name in CARRIERS] if relation == "on" else names
    if not carriers:
        return None
    first, second = draw_cast(names, wanted, stock, rng), draw_cast(carriers, wanted, stock, rng)
    if first is None or second is None:
        return None
    if first.name == second.name or (relation == "on" and not can_be_carried(first)):
        return None
    objects = place_pair((first, second), relation, floor_for(wanted, first, rng), rng)
    return None if objects is None else _scene("pair", objects, wanted, rng, relation)


def _person(stock: Stock, rng: Generator) -> Scene:
    wanted = Wanted(ground=_ground(stock, rng, in_place=False), style="flat")
    thing = place_single(draw_person(stock.people, rng), Floor(low=False, shadows=False), None, rng)
    return _scene("person", [thing], wanted, rng)


def _scene(
    kind: Literal["count", "pair", "trio", "person"],
    objects: list[SceneObject],
    wanted: Wanted,
    rng: Generator,
    relation: Relation | None = None,
) -> Scene:
    style, camera = wanted.style if wanted.told else None, draw_camera(rng, steep=kind in ("count", "trio"))
    return Scene(kind=kind, objects=tuple(objects), ground=wanted.ground, camera=camera, relation=relation, style=style)


def _wanted(stock: Stock, rng: Generator, *, view: ViewWord | None = None, in_place: bool = True) -> Wanted:
    ground = _ground(stock, rng, in_place=in_place)
    told = rng.random() < _TOLD_STYLE_SHARE and view is None
    shares = _TOLD_STYLES if told else STYLES_IN_PLACES if ground.kind == "place" else STYLES
    there = only(shares, stock.of_style) or dict.fromkeys(stock.of_style, 1.0)
    if told and ground.kind == "place":
        there = only(there, ("3d", "rendered")) or there
    return Wanted(ground=ground, style=choose(there, rng), told=told, view=view)


def _names(wanted: Wanted, stock: Stock) -> tuple[str, ...]:
    """The names that can be drawn as wanted; a style that no word tells rules nothing out."""
    if wanted.view is not None:
        return stock.of_view[wanted.view]
    return stock.of_style[wanted.style] if wanted.told else stock.names


def _ground(stock: Stock, rng: Generator, *, in_place: bool = True) -> Ground:
    kinds: list[GroundDraw] = ["default", "plain", "graded", "drawn"]
    if in_place and stock.places:
        kinds.append("place")
    kind = choose(only(_GROUNDS, kinds), rng)
    match kind:
        case "default":
            return Ground()
        case "plain":
            return Ground(name=pick(_COLOURED, rng))
        case "graded":
            first, second = rng.permutation(len(PLAIN_BACKGROUNDS))[:2]
            names = tuple(PLAIN_BACKGROUNDS)
            return Ground(kind="graded", name=f"{names[first]} {names[second]}")
        case "drawn":
            return Ground(kind="drawn", name=pick(tuple(SCENE_BACKGROUNDS), rng))
        case "place":
            return Ground(kind="place", name=pick(stock.places, rng))


def draw_camera(rng: Generator, *, steep: bool = False) -> Camera:
    tilt = pick(_STEEP_TILTS if steep else _TILTS, rng)
    return Camera(yaw=float(rng.integers(360)), down=tilt, view_angle=pick(_VIEW_ANGLES, rng))


def floor_for(wanted: Wanted, cast: Cast, rng: Generator) -> Floor:
    ground, style = wanted.ground, cast.look.style
    if ground.kind == "place":
        return Floor(low=True, shadows=True)
    if ground.kind == "drawn":
        return Floor(low=ground.name != "night", shadows=ground.name != "night" and style != "flat")
    return Floor(low=False, shadows=bool(rng.random() < _SHADOW_SHARES[style]))


def can_be_carried(cast: Cast) -> bool:
    """Whether it may stand on another thing."""
    return cast.thing is not None and cast.thing.group in CARRIED_GROUPS and not cast.floats


_SIZE_WORDS: tuple[SizeWord, ...] = ("small", "big")
