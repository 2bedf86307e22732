"""Hard negatives: a scene with one thing changed, so that its caption is wrong of the first scene's picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Literal, TypeVar, get_args

from numpy.random import Generator

from sanakit.worlds.scenes.placing import Look, place_count, place_pair, place_single
from sanakit.worlds.scenes.scene import Relation, Scene, SceneObject
from sanakit.worlds.scenes.vocabulary import BACKGROUNDS, COLOURS, ITEMS, NUMBER_WORDS, background_clashes

T = TypeVar("T")
WrongKind = Literal["object", "colour", "count", "position", "background"]
WRONG_KINDS: tuple[WrongKind, ...] = get_args(WrongKind)

_NUM_TRIES = 30  # draws before a scene is said to have no wrong one of a kind
_COLOUR_SWAP_SHARE = 0.5  # of pairs in two colours exchange them; the others get a new colour
_OPPOSITE_SHARE = 0.6  # of wrong positions are the opposite; the others are on the other axis
_OPPOSITES: Mapping[Relation, Relation] = MappingProxyType(
    {"left": "right", "right": "left", "above": "below", "below": "above"}
)


def wrong_scene(scene: Scene, kind: WrongKind, rng: Generator, *, allow_heldout: bool = True) -> Scene | None:
    """A scene that differs from ``scene`` in one thing, placed anew.

    object: one object is another. colour: one object has another colour than it shows, or two exchange theirs.
    count: another number of the same. position: another relation of the same two. background: another one.

    Args:
        allow_heldout: False gives only scenes without held-out combinations, as training may see.

    Returns:
        None where the scene has no such thing to change (no relation, a size word with a count), or no draw fits.
    """
    for _ in range(_NUM_TRIES):
        changed = _CHANGES[kind](scene, rng)
        if changed is None:
            return None
        if not _clashes(changed) and (allow_heldout or not changed.heldout_combinations()):
            return placed_again(changed, rng)
    return None


def placed_again(scene: Scene, rng: Generator) -> Scene:
    """The same words, drawn elsewhere on the canvas."""
    looks = [(thing.name, thing.colour) for thing in scene.objects]
    match scene.kind:
        case "single":
            return place_single(looks[0], rng, background=scene.background, size=scene.size)
        case "count":
            return place_count(looks[0], scene.count, rng, background=scene.background)
        case "pair":
            return place_pair(looks[0], looks[1], rng, relation=scene.relation, background=scene.background)


def shown_colour(look: Look) -> str | None:
    """The colour word that is true of an object: its tint, or the nearest to its natural look."""
    name, colour = look
    return colour or ITEMS[name].natural


def _other_object(scene: Scene, rng: Generator) -> Scene:
    there = {thing.name for thing in scene.objects}
    name = _pick([name for name in ITEMS if name not in there], rng)
    if scene.kind != "pair":
        return _with_looks(scene, [(name, thing.colour) for thing in scene.objects])
    changed = int(rng.integers(2))
    looks = [(name if i == changed else thing.name, thing.colour) for i, thing in enumerate(scene.objects)]
    return _with_looks(scene, looks)


def _other_colour(scene: Scene, rng: Generator) -> Scene | None:
    looks = [(thing.name, thing.colour) for thing in scene.objects]
    colours = [colour for _, colour in looks]
    if scene.kind == "pair" and None not in colours and colours[0] != colours[1] and rng.random() < _COLOUR_SWAP_SHARE:
        return _with_looks(scene, [(looks[0][0], colours[1]), (looks[1][0], colours[0])])
    known = [index for index, look in enumerate(looks) if shown_colour(look) is not None]
    if not known:
        return None
    changed = _pick(known, rng)
    colour = _pick([colour for colour in COLOURS if colour != shown_colour(looks[changed])], rng)
    if scene.kind == "count":
        return _with_looks(scene, [(name, colour) for name, _ in looks])
    return _with_looks(scene, [(name, colour if i == changed else own) for i, (name, own) in enumerate(looks)])


def _other_count(scene: Scene, rng: Generator) -> Scene | None:
    if scene.kind == "pair" or scene.size is not None:
        return None
    number = _pick([number for number in NUMBER_WORDS if number != scene.count], rng)
    objects = scene.objects[:1] * number
    return replace(scene, kind="single" if number == 1 else "count", objects=objects)


def _other_position(scene: Scene, rng: Generator) -> Scene | None:
    if scene.relation is None:
        return None
    if rng.random() < _OPPOSITE_SHARE:
        return replace(scene, relation=_OPPOSITES[scene.relation])
    (x1, y1), (x2, y2) = (_centre(thing) for thing in scene.objects)
    # On the other axis the two stand nearly level, and a word for the small difference could be true.
    if scene.relation in ("left", "right"):
        return replace(scene, relation="below" if y1 <= y2 else "above")
    return replace(scene, relation="right" if x1 <= x2 else "left")


def _other_background(scene: Scene, rng: Generator) -> Scene:
    return replace(scene, background=_pick([name for name in BACKGROUNDS if name != scene.background], rng))


_CHANGES: Mapping[WrongKind, Callable[[Scene, Generator], Scene | None]] = MappingProxyType(
    {
        "object": _other_object,
        "colour": _other_colour,
        "count": _other_count,
        "position": _other_position,
        "background": _other_background,
    }
)


def _with_looks(scene: Scene, looks: list[Look]) -> Scene:
    objects = zip(scene.objects, looks, strict=True)
    return replace(scene, objects=tuple(replace(thing, name=name, colour=colour) for thing, (name, colour) in objects))


def _clashes(scene: Scene) -> bool:
    return any(background_clashes(scene.background, ITEMS[thing.name], thing.colour) for thing in scene.objects)


def _centre(thing: SceneObject) -> tuple[float, float]:
    left, top, right, bottom = thing.box
    return (left + right) / 2, (top + bottom) / 2


def _pick(choices: list[T], rng: Generator) -> T:
    return choices[int(rng.integers(len(choices)))]
