"""The plain caption of a scene with one word that is wrong of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal, get_args

from numpy.random import Generator

from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.banks.things import Thing
from sanakit.worlds.sampling.casting import pick
from sanakit.worlds.scenes.description import (
    OPPOSITES,
    RELATIONS,
    Ground,
    Motion,
    MotionKind,
    Scene,
    SceneObject,
    SpeedWord,
    ViewWord,
    relation_holds,
)
from sanakit.worlds.scenes.vocabulary import (
    COLOURS,
    DEFAULT_BACKGROUND,
    NUMBER_WORDS,
    PLAIN_BACKGROUNDS,
    SCENE_BACKGROUNDS,
)
from sanakit.worlds.telling.captions import canonical_caption
from sanakit.worlds.telling.phrases import is_default

WrongWord = Literal[
    "thing", "colour", "count", "ground", "left/right", "above/below", "front/behind", "view", "size"
]  # fmt: skip
WRONG_WORDS: tuple[WrongWord, ...] = get_args(WrongWord)


def wrong_caption(scene: Scene, rng: Generator, kind: WrongWord, bank: Bank) -> str | None:
    """The canonical caption with one wrong word of that kind, false of the scene; None if it has no such word."""
    changed = wrong_words(scene, rng, kind, bank)
    return None if changed is None else canonical_caption(changed, bank)


def wrong_words(scene: Scene, rng: Generator, kind: WrongWord, bank: Bank) -> Scene | None:
    """The scene with one wrong word; boxes and looks are as they were and do not show it."""
    return _CHANGES[kind](scene, rng, bank)


def shown_colour(thing: SceneObject, bank: Bank) -> str | None:
    """The colour word that is true of an object: its tint, or the nearest to its natural look."""
    look = bank.look(thing.name, thing.look)
    return thing.colour if thing.colour is not None or look is None else look.natural


def _other_thing(scene: Scene, rng: Generator, bank: Bank) -> Scene | None:
    if scene.kind == "person":
        return None
    own = [bank.things[thing.name] for thing in scene.objects]
    others = [name for name, other in bank.things.items() if not any(may_be_called(thing, other) for thing in own)]
    if not others:
        return None
    changed = range(scene.count) if scene.kind == "count" else [int(rng.integers(scene.count))]
    name = pick(others, rng)
    objects = [replace(thing, name=name) if i in changed else thing for i, thing in enumerate(scene.objects)]
    return replace(scene, objects=tuple(objects))


def may_be_called(thing: Thing, other: Thing) -> bool:
    """Whether a picture of ``thing`` might also pass as ``other``."""
    names = [{one.name, *(singular for singular, _ in one.synonyms)} for one in (thing, other)]
    return bool(names[0] & {*names[1], *other.keywords} or names[1] & set(thing.keywords))


def _other_colour(scene: Scene, rng: Generator, bank: Bank) -> Scene | None:
    told = [number for number, thing in enumerate(scene.objects) if thing.colour is not None]
    if not told:
        return None
    changed = pick(told, rng)
    colour = pick([colour for colour in COLOURS if colour != scene.objects[changed].colour], rng)
    if scene.kind == "count":
        return replace(scene, objects=tuple(replace(thing, colour=colour) for thing in scene.objects))
    objects = [replace(thing, colour=colour) if i == changed else thing for i, thing in enumerate(scene.objects)]
    return replace(scene, objects=tuple(objects))


def _other_count(scene: Scene, rng: Generator, bank: Bank) -> Scene | None:
    if scene.kind != "count":
        return None
    number = pick([number for number in NUMBER_WORDS if number > 1 and number != scene.count], rng)
    return replace(scene, objects=scene.objects[:1] * number)


def _other_ground(scene: Scene, rng: Generator, bank: Bank) -> Scene | None:
    ground = scene.ground
    if is_default(ground):
        return None
    match ground.kind:
        case "plain":
            names = [name for name in PLAIN_BACKGROUNDS if name not in (ground.name, DEFAULT_BACKGROUND)]
        case "graded":
            names = [f"{top} {bottom}" for top in PLAIN_BACKGROUNDS for bottom in PLAIN_BACKGROUNDS if top != bottom]
            names = [name for name in names if not set(name.split()) & set(ground.name.split())]
        case "drawn":
            names = [name for name in SCENE_BACKGROUNDS if name != ground.name]
        case "place":
            own = set(bank.places[ground.name].wordings)
            names = [name for name, place in bank.places.items() if not own & set(place.wordings)]
    return replace(scene, ground=Ground(kind=ground.kind, name=pick(names, rng))) if names else None


def _opposite(*relations: str) -> Callable[[Scene, Generator, Bank], Scene | None]:
    def change(scene: Scene, rng: Generator, bank: Bank) -> Scene | None:
        if scene.relation not in relations:
            return None
        opposite = OPPOSITES[RELATIONS[RELATIONS.index(scene.relation)]]
        return None if relation_holds(opposite, *scene.objects) else replace(scene, relation=opposite)

    return change


def _other_view(scene: Scene, rng: Generator, bank: Bank) -> Scene | None:
    if scene.view is None:
        return None
    return replace(scene, view=pick([word for word in get_args(ViewWord) if word != scene.view], rng))


def _other_size(scene: Scene, rng: Generator, bank: Bank) -> Scene | None:
    if scene.size is None:
        return None
    return replace(scene, size="big" if scene.size == "small" else "small")


_CHANGES: Mapping[WrongWord, Callable[[Scene, Generator, Bank], Scene | None]] = {
    "thing": _other_thing,
    "colour": _other_colour,
    "count": _other_count,
    "ground": _other_ground,
    "left/right": _opposite("left", "right"),
    "above/below": _opposite("above", "below"),
    "front/behind": _opposite("in front", "behind"),
    "view": _other_view,
    "size": _other_size,
}


_OTHER_WAYS: Mapping[MotionKind, MotionKind] = {
    "left": "right", "right": "left", "up": "down", "down": "up", "towards": "away", "away": "towards",
    "turning": "bouncing", "bouncing": "appearing", "appearing": "turning",
}  # fmt: skip
_OTHER_SPEEDS: Mapping[SpeedWord, SpeedWord] = {"slow": "quick", "quick": "slow"}


def wrong_motions(scene: Scene) -> dict[str, Scene]:
    """The scene with the other motion of what moves, and with the other speed where one is told."""
    wrong = {}
    if any(thing.motion is not None for thing in scene.objects):
        wrong["motion"] = _with_motions(scene, lambda motion: replace(motion, kind=_OTHER_WAYS[motion.kind]))
    if any(thing.motion is not None and thing.motion.speed is not None for thing in scene.objects):
        wrong["speed"] = _with_motions(
            scene, lambda motion: replace(motion, speed=motion.speed and _OTHER_SPEEDS[motion.speed])
        )
    return wrong


def _with_motions(scene: Scene, change: Callable[[Motion], Motion]) -> Scene:
    objects = (replace(thing, motion=thing.motion and change(thing.motion)) for thing in scene.objects)
    return replace(scene, objects=tuple(objects))
