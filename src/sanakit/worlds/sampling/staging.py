"""The words of a scene put on stage anew: other looks, sides and places, of which the same words are true."""

from __future__ import annotations

from dataclasses import replace

from numpy.random import Generator

from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.sampling.casting import Cast, cast_of, draw_view, stock_of, turned
from sanakit.worlds.sampling.layouts import Floor, place_alike, place_pair, place_single
from sanakit.worlds.sampling.random_scenes import can_be_carried, draw_camera, floor_for
from sanakit.worlds.sampling.worded_scenes import wanted_for
from sanakit.worlds.scenes.description import Scene, SceneObject
from sanakit.worlds.scenes.vocabulary import CARRIERS

_NUM_TRIES = 8  # draws of looks and places before the words are said not to go together
_OTHER_SIDE_SHARE = 0.3  # of several alike are not all seen from one side


def staged(scene: Scene, rng: Generator, bank: Bank) -> Scene | None:
    """A scene with the same words; None if the bank cannot show them, or hardly.

    What no word tells is drawn anew: looks, sides, boxes, where a camera looks. A drawn person stays who it is.
    """
    for _ in range(_NUM_TRIES):
        if (placed := _person(scene, rng, bank) if scene.kind == "person" else _draw(scene, rng, bank)) is not None:
            camera = draw_camera(rng, steep=scene.kind in ("count", "trio"))
            return replace(scene, objects=tuple(placed), camera=camera)
    return None


def _person(scene: Scene, rng: Generator, bank: Bank) -> list[SceneObject]:
    told = scene.objects[0]
    person = bank.person(told.look)
    assert person is not None
    cast = Cast(name=told.name, look=person.look, view=draw_view(person.look, None, rng), parts=told.parts)
    return [place_single(cast, Floor(low=False, shadows=False), None, rng)]


def _draw(scene: Scene, rng: Generator, bank: Bank) -> list[SceneObject] | None:
    stock, casts = stock_of(bank), list[Cast]()
    wanted = wanted_for(scene.ground, scene.style, scene.view, stock, rng)
    for thing in scene.objects[:1] if scene.kind == "count" else scene.objects:
        if (cast := cast_of(thing.name, thing.colour, wanted, stock, rng)) is None:
            return None
        casts.append(cast)
    return _placed(scene, casts, floor_for(wanted, casts[0], rng), rng)


def _placed(scene: Scene, casts: list[Cast], floor: Floor, rng: Generator) -> list[SceneObject] | None:
    if scene.kind == "pair":
        first, second = casts
        if scene.relation == "on" and not (can_be_carried(first) and second.name in CARRIERS):
            return None
        return place_pair((first, second), scene.relation, floor, rng)
    if scene.kind == "single":
        return [place_single(casts[0], floor, scene.size, rng)]
    alike = casts * scene.count if scene.kind == "count" else casts
    if scene.kind == "count" and rng.random() < _OTHER_SIDE_SHARE:
        alike = [turned(cast, draw_view(cast.look, None, rng)) for cast in alike]
    return place_alike(alike, floor, rng)
