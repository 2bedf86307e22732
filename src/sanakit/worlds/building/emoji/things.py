"""``emoji_things``: every thing of the list with its looks and its names, and their encoded pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from PIL import Image

from sanakit.common.progress import OnProgress, no_progress
from sanakit.worlds.banks.things import Look, Thing
from sanakit.worlds.building.emoji.clips import read_clips, read_stills
from sanakit.worlds.building.emoji.drawings import Icons, given_drawings
from sanakit.worlds.building.emoji.looks import Views, flat_look, pictured_look
from sanakit.worlds.building.emoji.names import Names
from sanakit.worlds.building.emoji.words import Entry, code_points, emoji_entries
from sanakit.worlds.building.packages import EMOJI_WORDS, FLUENT_3D, FLUENT_CLIPS, FLUENT_FLAT, Package

_NEVER_TINTED = frozenset({"smiley", "earth", "Santa Claus", "Christmas tree", "snowman", "eye", "traffic light"})

Fetch = Callable[[Package], Path | None]
"""Gives the file of a package; None if it is not to be had, which has been said then."""


def emoji_things(fetch: Fetch, on_progress: OnProgress = no_progress) -> tuple[tuple[Thing, ...], dict[str, bytes]]:
    """Things, and encoded pictures by their names in the bank; a package that is not to be had leaves its looks out."""
    entries, views = emoji_entries(), Views()
    solid = _solid_looks(entries, fetch, views, on_progress)
    flat = _flat_looks(entries, fetch, views, on_progress)
    words = fetch(EMOJI_WORDS)
    names = Names(words, entries) if words else None
    made = [_thing(entry, solid, flat, names) for entry in entries]
    return tuple(thing for thing in made if thing.looks), views.members


def emoji_things_renamed(things: Iterable[Thing], words: Path) -> tuple[Thing, ...]:
    """The same things with the names that the list and the annotations give now; their pictures stay as they are."""
    entries = emoji_entries()
    names, known = Names(words, entries), {entry.name: entry for entry in entries}
    return tuple(_named(thing, known[thing.name], names) for thing in things)


def _named(thing: Thing, entry: Entry, names: Names) -> Thing:
    main, more = names.of(entry)
    return replace(thing, names=main, more_names=more, keywords=names.keywords(entry))


def _thing(entry: Entry, solid: Mapping[str, Look], flat: Mapping[str, Look], names: Names | None) -> Thing:
    codes = [code_points(emoji) for emoji in entry.emoji]
    main, more = names.of(entry) if names else ({}, {})
    looks = [looks[code] for looks in (solid, flat) for code in (*codes, entry.name) if code in looks]
    if entry.group == "person" or entry.name in _NEVER_TINTED:
        looks = [replace(look, tintable=False, natural=None) for look in looks]
    return Thing(
        name=entry.name,
        plural=entry.plural,
        group=entry.group,
        looks=tuple(looks),
        synonyms=entry.synonyms,
        keywords=names.keywords(entry) if names else (),
        names=main,
        more_names=more,
        emoji=entry.emoji[0] if entry.emoji else None,
        more_emoji=entry.emoji[1:],
        floats=entry.floats,
    )


def _solid_looks(entries: tuple[Entry, ...], fetch: Fetch, views: Views, on_progress: OnProgress) -> dict[str, Look]:
    """By code points. A still comes first and frames of its clip after it."""
    wanted = {code_points(emoji) for entry in entries for emoji in entry.emoji}
    images: dict[str, list[Image.Image]] = {}
    if stills := fetch(FLUENT_3D):
        for code, image in read_stills(stills, wanted):
            images.setdefault(code, []).append(image)
    for package in FLUENT_CLIPS:
        if (clips := fetch(package)) is None:
            continue
        for code, frames in read_clips(clips, wanted):
            images.setdefault(code, []).extend(frames)
            on_progress(sum(len(some) > 1 for some in images.values()), len(wanted), "3-D emoji")
    looks = {code: pictured_look(f"3d-{code}", "3d", some, FLUENT_3D, views) for code, some in sorted(images.items())}
    return {code: look for code, look in looks.items() if look is not None}


def _flat_looks(entries: tuple[Entry, ...], fetch: Fetch, views: Views, on_progress: OnProgress) -> dict[str, Look]:
    """By code points, or by the name of the thing for drawings that are given by hand."""
    if (package := fetch(FLUENT_FLAT)) is None:
        return {}
    icons, given = Icons(package), given_drawings()
    looks: dict[str, Look | None] = {}
    for number, entry in enumerate(entries):
        on_progress(number + 1, len(entries), "drawings")
        if drawing := given.get(entry.name):
            looks[entry.name] = flat_look(entry.name, icons.given(drawing), drawing, FLUENT_FLAT, views)
            continue
        for emoji in entry.emoji:
            if image := icons.of_emoji(emoji):
                code = code_points(emoji)
                looks[code] = flat_look(code, image, None, FLUENT_FLAT, views)
    return {code: look for code, look in looks.items() if look is not None}
