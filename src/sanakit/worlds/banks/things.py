"""What a bank knows about its pictures: things and their looks from many sides, places, people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

Style = Literal["rendered", "3d", "flat"]
Group = Literal["animal", "food", "vehicle", "furniture", "thing", "clothing", "nature", "building", "person", "shape"]
GROUPS: tuple[Group, ...] = get_args(Group)


@dataclass(frozen=True, slots=True)
class View:
    """One picture of a look.

    ``yaw`` in degrees: 0 its front, 90 its right side, 180 from behind. ``pitch`` in degrees that the camera stands
    above the horizon: 0 level, 60 from above. ``frame`` counts the poses of a clip. ``size`` is ``(width, height)`` in
    pixels, cropped tight; ``member`` its name in ``views.zip``.
    """

    yaw: float
    pitch: float
    frame: int
    size: tuple[int, int]
    member: str

    def companion(self, kind: Literal["tint", "depth"]) -> str:
        """The name of the gray picture beside it."""
        return f"{self.member.removesuffix('.webp')}.{kind}.webp"


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """One way in which a thing looks: a model, a drawing, a clip. ``natural`` is the colour word of its own colour."""

    id: str
    style: Style
    views: tuple[View, ...]
    tintable: bool = False
    natural: str | None = None
    licence: str
    author: str
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Thing:
    """A name and everything that is called so.

    ``synonyms`` are pairs of singular and plural; ``names`` holds its main name by language code (``de``, ``zh``) and
    ``more_names`` further ones; ``more_emoji`` mean it too; ``size_cm`` is width, depth and height; ``floats`` is true
    of what needs no ground. Words without a number ("jeans", "bread") have themselves as plural.
    """

    name: str
    plural: str
    group: Group
    looks: tuple[Look, ...]
    synonyms: tuple[tuple[str, str], ...] = ()
    keywords: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    more_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    emoji: str | None = None
    more_emoji: tuple[str, ...] = ()
    size_cm: tuple[float, float, float] | None = None
    floats: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A panorama, and the wordings that say one is in it: "in a park", "in the park"."""

    name: str
    wordings: tuple[str, ...]
    member: str
    indoors: bool
    licence: str
    author: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """A drawn person or creature; ``parts`` say what it has: ``{"kind": "person", "hair": "red", "hat": "cap"}``."""

    look: Look
    parts: Mapping[str, str]


def merge_things(things: Iterable[Thing]) -> tuple[Thing, ...]:
    """Things of one name become one thing with the looks of all, in the order of the names.

    What the first one leaves open (emoji, size, names in a language) is taken from the next. A word means one thing: a
    synonym that is the name or plural of another thing, or a synonym of two, is dropped.
    """
    merged: dict[str, Thing] = {}
    for thing in things:
        merged[thing.name] = _merge(merged[thing.name], thing) if thing.name in merged else thing
    uses = Counter(word for thing in merged.values() for word in {word for word, _ in thing.synonyms})
    uses.update(word for thing in merged.values() for word in (thing.name, thing.plural))
    return tuple(
        replace(thing, synonyms=tuple(pair for pair in thing.synonyms if uses[pair[0]] == 1))
        for _, thing in sorted(merged.items())
    )


def _merge(first: Thing, other: Thing) -> Thing:
    return replace(
        first,
        looks=first.looks + other.looks,
        synonyms=tuple(dict(first.synonyms + other.synonyms).items()),  # one plural each
        keywords=tuple(dict.fromkeys(first.keywords + other.keywords)),
        names={**other.names, **first.names},
        more_names=_more_names(first, other),
        emoji=first.emoji or other.emoji,
        more_emoji=tuple(dict.fromkeys(first.more_emoji + other.more_emoji)),
        size_cm=first.size_cm or other.size_cm,
        floats=first.floats or other.floats,
    )


def _more_names(first: Thing, other: Thing) -> dict[str, tuple[str, ...]]:
    """All names but the main ones; the other's main one is among them where the first is called otherwise."""
    found: dict[str, tuple[str, ...]] = {}
    for code in sorted({*first.more_names, *other.names, *other.more_names}):
        theirs = (other.names[code],) if code in other.names else ()
        names = (*first.more_names.get(code, ()), *theirs, *other.more_names.get(code, ()))
        main = first.names.get(code, other.names.get(code))
        if more := tuple(name for name in dict.fromkeys(names) if name != main):
            found[code] = more
    return found
