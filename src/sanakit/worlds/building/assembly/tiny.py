"""The tiny bank, which ships: the first fifty names drawn, a few things from many sides, some places and people."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace

from PIL import Image

from sanakit.worlds.banks.bank_files import Contents
from sanakit.worlds.banks.things import Look, Person, Place, Thing, View
from sanakit.worlds.building.cutting import as_webp
from sanakit.worlds.building.emoji.drawings import given_drawings

ROUND = ("bench", "car", "chair", "clock", "cup", "dog", "horse", "sofa", "table", "tree")
SOLID = ("ball", "butterfly", "cake", "cat", "frog", "house", "mushroom", "rocket")
PLACES = ("empty room", "forest", "park", "seaside")
_NUM_PLACES = 4
_NUM_PEOPLE = 12
_VIEW_STEP = 60.0  # degrees between the level views that are kept of a model
_FROM_ABOVE = 40.0  # degrees; views from higher up are all kept
_PLACE_SIZE = (256, 128)


def cut_down(contents: Contents, members: Mapping[str, bytes]) -> tuple[Contents, dict[str, bytes]]:
    """What the tiny bank keeps of a full one."""
    things = [_kept(thing) for thing in contents.things]
    chosen = tuple(thing for thing in things if thing.looks)
    people = contents.people[:: max(1, len(contents.people) // _NUM_PEOPLE)][:_NUM_PEOPLE]
    wanted = [place for place in contents.places if place.name in PLACES]
    others = [place for place in contents.places if place.name not in PLACES]
    places = tuple((wanted + others)[:_NUM_PLACES])
    kept = replace(contents, name="tiny", things=chosen, places=places, people=people)
    return kept, {**_pictures(chosen, people, members), **_panoramas(places, members)}


def _kept(thing: Thing) -> Thing:
    """A thing without looks is not kept."""
    looks: list[Look] = []
    if thing.name in given_drawings():
        looks += [look for look in thing.looks if look.style == "flat"][:1]
    if thing.name in SOLID:
        looks += [replace(look, views=look.views[:2]) for look in thing.looks if look.style == "3d"][:1]
    if thing.name in ROUND:
        looks += [_fewer_views(look) for look in thing.looks if look.style == "rendered"][:1]
    return replace(thing, looks=tuple(looks))


def _fewer_views(look: Look) -> Look:
    kept = tuple(view for view in look.views if view.yaw % _VIEW_STEP == 0 or view.pitch > _FROM_ABOVE)
    return replace(look, views=kept)


def _pictures(things: tuple[Thing, ...], people: tuple[Person, ...], members: Mapping[str, bytes]) -> dict[str, bytes]:
    looks = [look for thing in things for look in thing.looks] + [person.look for person in people]
    names = [name for look in looks for view in look.views for name in _names(view)]
    return {name: members[name] for name in names if name in members}


def _names(view: View) -> tuple[str, ...]:
    return view.member, view.companion("tint"), view.companion("depth")


def _panoramas(places: tuple[Place, ...], members: Mapping[str, bytes]) -> dict[str, bytes]:
    smaller = {}
    for place in places:
        with Image.open(io.BytesIO(members[place.member])) as panorama:
            smaller[place.member] = as_webp(panorama.convert("RGB").resize(_PLACE_SIZE, Image.Resampling.LANCZOS))
    return smaller
