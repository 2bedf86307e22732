"""The parts of a bank: each made from its packages, written as a bank of its own, and taken again if it is the same."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import resources
from typing import Any

from sanakit.common.errors import OutputError
from sanakit.common.files import write_json
from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.banks.bank_files import Contents, load_bank, renew_things, write_bank
from sanakit.worlds.banks.things import Person, Place, Thing, merge_things
from sanakit.worlds.building.assembly.workshop import Workshop
from sanakit.worlds.building.emoji.things import emoji_things, emoji_things_renamed
from sanakit.worlds.building.fetching import unpack_deb
from sanakit.worlds.building.models.things import model_things
from sanakit.worlds.building.packages import (
    EMOJI_WORDS,
    FLUENT_3D,
    FLUENT_CLIPS,
    FLUENT_FLAT,
    FURNITURE,
    PANORAMAS,
    Package,
)
from sanakit.worlds.building.people.people import drawn_people
from sanakit.worlds.building.places import places

_DRAWINGS = (EMOJI_WORDS, FLUENT_FLAT)
_EMOJI = (*_DRAWINGS, FLUENT_3D, *FLUENT_CLIPS)
_VERSION = 2  # of how parts are made; another one makes them again
_NAMES_VERSION = 1  # of how things get their names; another one names them again, with the pictures that are there


@dataclass(kw_only=True)
class Made:
    """What a part brings. ``notices`` are licences that must be given with it."""

    things: tuple[Thing, ...] = ()
    places: tuple[Place, ...] = ()
    people: tuple[Person, ...] = ()
    members: dict[str, bytes] = field(default_factory=dict)
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """``data`` are the files, below ``worlds/building``, that it is made by beside its packages.

    If only ``names`` change, which are such files too, ``rename`` gives the things anew and the pictures stay.
    One that is ``within`` another is made only where it is asked for by name.
    """

    packages: tuple[Package, ...]
    data: tuple[str, ...]
    make: Callable[[Workshop], Made]
    names: tuple[str, ...] = ()
    rename: Callable[[Workshop, tuple[Thing, ...]], tuple[Thing, ...]] | None = None
    within: str | None = None


def _models(shop: Workshop) -> Made:
    made = Made()
    if (package := shop.fetch(FURNITURE)) is None:
        return made
    folder = unpack_deb(package, shop.packages / f"{FURNITURE.name}-{FURNITURE.version}")
    for thing, members in model_things(folder, shop.work("models"), shop.on_progress):
        made.things += (thing,)
        made.members.update(members)
    return made


def _places(shop: Workshop) -> Made:
    made = Made()
    if (package := shop.fetch(PANORAMAS)) is None:
        return made
    for place, members in places(package, shop.on_progress):
        made.places += (place,)
        made.members.update(members)
    return made


def _emoji(shop: Workshop, packages: Sequence[Package] = _EMOJI) -> Made:
    things, members = emoji_things(lambda each: shop.fetch(each) if each in packages else None, shop.on_progress)
    notices = [resources.files(__package__).joinpath("fluent-emoji.txt").read_text("utf-8")]
    if words := shop.fetch(EMOJI_WORDS):
        with tarfile.open(words) as archive:
            licence = archive.extractfile("package/LICENSE")
            notices += [licence.read().decode()] if licence else []
    return Made(things=things, members=members, notices=tuple(notices))


def _emoji_renamed(shop: Workshop, things: tuple[Thing, ...]) -> tuple[Thing, ...]:
    words = shop.fetch(EMOJI_WORDS)
    return emoji_things_renamed(things, words) if words else things


def _people(shop: Workshop) -> Made:
    people, members = drawn_people(shop.on_progress)
    return Made(people=people, members=members)


PARTS = {
    "models": Part(packages=(FURNITURE,), data=("models/models.yaml", "models/names.yaml"), make=_models),
    "places": Part(packages=(PANORAMAS,), data=("places.yaml",), make=_places),
    "emoji": Part(
        packages=_EMOJI,
        data=("emoji/things.txt", "emoji/drawings.txt"),
        make=_emoji,
        names=("emoji/names.txt",),
        rename=_emoji_renamed,
    ),
    "drawings": Part(
        packages=_DRAWINGS,
        data=("emoji/things.txt", "emoji/drawings.txt"),
        make=partial(_emoji, packages=_DRAWINGS),
        names=("emoji/names.txt",),
        rename=_emoji_renamed,
        within="emoji",
    ),
    "people": Part(packages=(), data=("people/styles.json",), make=_people),
}


def finished_part(name: str, shop: Workshop) -> Bank:
    """A part's bank, as it was kept if its packages and data are the same, else made or named anew.

    Raises:
        MissingExtraError: what draws it is not installed.
        OutputError: the workshop's folder cannot be written.
    """
    part, folder = PARTS[name], shop.part(name)
    had = [package for package in part.packages if shop.fetch(package)]
    packages = {package.name: {"version": package.version, "sha256": package.sha256} for package in had}
    stamp = {"version": _VERSION, "packages": packages, "data": _digest(part.data)}
    names = {"version": _NAMES_VERSION, "data": _digest(part.names)}
    kept = _stamp_of(shop, name)
    if part.rename and kept.pop("names", None) != names and kept == stamp:
        renew_things(folder, merge_things(part.rename(shop, tuple(load_bank(folder).things.values()))))
        write_json(folder / "stamp.json", {**stamp, "names": names})
    elif kept != stamp:
        made = part.make(shop)
        contents = Contents(
            name=name,
            things=merge_things(made.things),
            places=made.places,
            people=made.people,
            packages=packages,
            attribution="\n\n".join(made.notices),
        )
        write_bank(folder, contents, made.members)
        write_json(folder / "stamp.json", {**stamp, "names": names} if part.rename else stamp)
    return load_bank(folder)


def _stamp_of(shop: Workshop, name: str) -> dict[str, Any]:
    try:
        return dict(json.loads((shop.part(name) / "stamp.json").read_bytes()))
    except (OSError, ValueError, TypeError, OutputError):
        return {}


def _digest(names: tuple[str, ...]) -> str:
    folder = resources.files("sanakit").joinpath("worlds", "building")
    return hashlib.sha256(b"".join(folder.joinpath(name).read_bytes() for name in names)).hexdigest()
