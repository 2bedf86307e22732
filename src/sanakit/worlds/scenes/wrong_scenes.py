"""Hard negatives: a scene with one thing changed, so that its caption is wrong of the first scene's picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal, get_args

from numpy.random import Generator

from sanakit.worlds.scenes.captions import pick
from sanakit.worlds.scenes.placing import place_count, place_pair, place_single
from sanakit.worlds.scenes.scene import OPPOSITES, Look, Scene, centre
from sanakit.worlds.scenes.vocabulary import BACKGROUNDS, COLOURS, ITEMS, NUMBER_WORDS, background_clashes

WrongKind = Literal["object", "colour", "count", "position", "background"]
WRONG_KINDS: tuple[WrongKind, ...] = get_args(WrongKind)

_NUM_TRIES = 30  # draws before a scene is said to have no wrong one of a kind
_COLOUR_SWAP_SHARE = 0.5  # of pairs in two colours exchange them; the others get a new colour
_OPPOSITE_SHARE = 0.6  # of wrong positions are the opposite; the others are on the other axis


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
        looks = [(ITEMS[name], colour) for name, colour in changed.looks]
        clashes = any(background_clashes(changed.background, item, colour) for item, colour in looks)
        if not clashes and (allow_heldout or changed.belongs_to("train")):
            return placed_again(changed, rng)
    return None


def placed_again(scene: Scene, rng: Generator) -> Scene:
    """The same words, drawn elsewhere on the canvas."""
    match scene.kind:
        case "single":
            return place_single(scene.looks[0], rng, background=scene.background, size=scene.size)
        case "count":
            return place_count(scene.looks[0], scene.count, rng, background=scene.background)
        case "pair":
            first, second = scene.looks
            return place_pair(first, second, rng, relation=scene.relation, background=scene.background)


def shown_colour(look: Look) -> str | None:
    """The colour word that is true of an object: its tint, or the nearest to its natural look."""
    name, colour = look
    return colour or ITEMS[name].natural


def _other_object(scene: Scene, rng: Generator) -> Scene:
    there = {thing.name for thing in scene.objects}
    name = pick([name for name in ITEMS if name not in there], rng)
    changed = {int(rng.integers(2))} if scene.kind == "pair" else range(scene.count)
    return _with_looks(scene, [(name if i in changed else own, colour) for i, (own, colour) in enumerate(scene.looks)])


def _other_colour(scene: Scene, rng: Generator) -> Scene | None:
    looks = scene.looks
    colours = [colour for _, colour in looks]
    if scene.kind == "pair" and None not in colours and colours[0] != colours[1] and rng.random() < _COLOUR_SWAP_SHARE:
        return _with_looks(scene, [(looks[0][0], colours[1]), (looks[1][0], colours[0])])
    known = [index for index, look in enumerate(looks) if shown_colour(look) is not None]
    if not known:
        return None
    changed = pick(known, rng)
    colour = pick([colour for colour in COLOURS if colour != shown_colour(looks[changed])], rng)
    if scene.kind == "count":
        return _with_looks(scene, [(name, colour) for name, _ in looks])
    return _with_looks(scene, [(name, colour if i == changed else own) for i, (name, own) in enumerate(looks)])


def _other_count(scene: Scene, rng: Generator) -> Scene | None:
    if scene.kind == "pair" or scene.size is not None:
        return None
    number = pick([number for number in NUMBER_WORDS if number != scene.count], rng)
    objects = scene.objects[:1] * number
    return replace(scene, kind="single" if number == 1 else "count", objects=objects)


def _other_position(scene: Scene, rng: Generator) -> Scene | None:
    if scene.relation is None:
        return None
    if rng.random() < _OPPOSITE_SHARE:
        return replace(scene, relation=OPPOSITES[scene.relation])
    (x1, y1), (x2, y2) = (centre(thing.box) for thing in scene.objects)
    # On the other axis the two stand nearly level, and a word for the small difference could be true.
    if scene.relation in ("left", "right"):
        return replace(scene, relation="below" if y1 <= y2 else "above")
    return replace(scene, relation="right" if x1 <= x2 else "left")


def _other_background(scene: Scene, rng: Generator) -> Scene:
    return replace(scene, background=pick([name for name in BACKGROUNDS if name != scene.background], rng))


_CHANGES: Mapping[WrongKind, Callable[[Scene, Generator], Scene | None]] = {
    "object": _other_object,
    "colour": _other_colour,
    "count": _other_count,
    "position": _other_position,
    "background": _other_background,
}


def _with_looks(scene: Scene, looks: list[Look]) -> Scene:
    objects = zip(scene.objects, looks, strict=True)
    return replace(scene, objects=tuple(replace(thing, name=name, colour=colour) for thing, (name, colour) in objects))
