"""What is in a picture: the ground truth that captions are written from and pictures are scored by."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from itertools import combinations
from typing import Any, Literal

from sanakit.worlds.scenes.vocabulary import DEFAULT_BACKGROUND

Box = tuple[float, float, float, float]  # left, top, right, bottom in [0, 1] of the canvas
Point = tuple[float, float]
Look = tuple[str, str | None]  # an object's name, and its colour word or None for its natural look
Kind = Literal["single", "count", "pair"]
Relation = Literal["left", "right", "above", "below"]
SizeWord = Literal["small", "big"]
Split = Literal["train", "heldout"]

OPPOSITES: Mapping[Relation, Relation] = {"left": "right", "right": "left", "above": "below", "below": "above"}
# Axis (0 across, 1 down) and direction of the first object's centre as seen from the second's.
_DIRECTIONS: Mapping[Relation, tuple[int, int]] = {"left": (0, -1), "right": (0, 1), "above": (1, -1), "below": (1, 1)}
_MIN_OFFSET = 0.1  # of the canvas, between centres: less is neither left nor right
_HELDOUT_SHARE = 0.10


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneObject:
    """One object; ``colour`` None is its natural look. ``box`` is tight around its visible pixels."""

    name: str
    colour: str | None = None
    box: Box


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """One picture: ``single`` holds one object, ``count`` two to four alike, ``pair`` two that differ.

    In a pair with a ``relation`` the first object is left of / right of / above / below the second.
    """

    kind: Kind
    objects: tuple[SceneObject, ...]
    background: str = DEFAULT_BACKGROUND
    relation: Relation | None = None
    size: SizeWord | None = None

    @property
    def count(self) -> int:
        return len(self.objects)

    @property
    def looks(self) -> list[Look]:
        return [(thing.name, thing.colour) for thing in self.objects]

    def combinations(self) -> tuple[str, ...]:
        """The pairings of words that a model can have seen or not: the keys that are held out."""
        first = self.objects[0]
        pairings = {f"{o.name}|{o.colour}" for o in self.objects if o.colour is not None}
        if self.background != DEFAULT_BACKGROUND:
            pairings |= {f"{o.name}|{self.background} background" for o in self.objects}
        if self.kind == "count":
            pairings.add(f"{first.name}|{self.count}")
        if self.kind == "pair":
            pairings |= {"|".join(pair) for pair in combinations(sorted(o.name for o in self.objects), 2)}
        return tuple(sorted(pairings))

    def heldout_combinations(self) -> tuple[str, ...]:
        return tuple(pairing for pairing in self.combinations() if is_heldout(pairing))

    def belongs_to(self, split: Split) -> bool:
        """ "train" never holds a held-out combination, "heldout" always at least one."""
        return bool(self.heldout_combinations()) == (split == "heldout")

    def to_json(self) -> dict[str, Any]:
        """Plain values for a ground-truth file; `scene_from_json` reads them back."""
        return asdict(self)


def scene_from_json(values: dict[str, Any]) -> Scene:
    objects = tuple(SceneObject(**{**o, "box": tuple(o["box"])}) for o in values["objects"])
    return Scene(**{**values, "objects": objects})


def centre(box: Box) -> Point:
    left, top, right, bottom = box
    return (left + right) / 2, (top + bottom) / 2


def relation_holds(relation: Relation, first: Box, second: Box) -> bool:
    """Whether the first box clearly lies on that side of the second, as their centres stand."""
    axis, direction = _DIRECTIONS[relation]
    return (centre(first)[axis] - centre(second)[axis]) * direction >= _MIN_OFFSET


@cache
def is_heldout(pairing: str) -> bool:
    """Whether training never shows this pairing; the same on every machine, as it comes from SHA-256."""
    digest = hashlib.sha256(pairing.encode()).digest()
    return int.from_bytes(digest[:8], "big") < _HELDOUT_SHARE * 2**64
