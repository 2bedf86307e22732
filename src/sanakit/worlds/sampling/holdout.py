"""What training never shows: pairings of words and wordings, chosen by SHA-256, so the same on every machine."""

from __future__ import annotations

import hashlib
from functools import cache
from itertools import combinations
from typing import Literal

from sanakit.worlds.scenes.description import Ground, MotionKind, Scene
from sanakit.worlds.scenes.vocabulary import DEFAULT_BACKGROUND

Split = Literal["train", "heldout"]
_HELDOUT_SHARE = 0.10


@cache
def is_heldout(key: str) -> bool:
    """Whether training never shows this pairing or wording."""
    digest = hashlib.sha256(key.encode()).digest()
    return int.from_bytes(digest[:8], "big") < _HELDOUT_SHARE * 2**64


def pairings(scene: Scene) -> tuple[str, ...]:
    """The pairings of words that a model can have seen or not: "cat|red", "cat|dog", "cat|3", "cat|place park" …"""
    names = [thing.name for thing in scene.objects]
    keys = {f"{thing.name}|{thing.colour}" for thing in scene.objects if thing.colour is not None}
    keys |= {f"{name}|{ground}" for name in names for ground in _ground_words(scene.ground)}
    keys |= {motion_key(thing.name, thing.motion.kind) for thing in scene.objects if thing.motion is not None}
    if scene.view is not None:
        keys.add(f"{names[0]}|view {scene.view}")
    if scene.kind == "count":
        keys.add(f"{names[0]}|{scene.count}")
    if scene.kind in ("pair", "trio"):
        keys |= {pair_key(*pair) for pair in combinations(names, 2)}
    if scene.kind == "person":
        parts = [f"{part} {word}" for part, word in scene.objects[0].parts]
        keys |= {"|".join(pair) for pair in combinations(sorted(parts), 2)}
    return tuple(sorted(keys))


def motion_key(name: str, kind: MotionKind) -> str:
    """The pairing of a thing and what it does."""
    return f"{name}|moving {kind}"


def pair_key(first: str, second: str) -> str:
    """The pairing of two things in one picture, whichever is named first."""
    return "|".join(sorted((first, second)))


def heldout_pairings(scene: Scene) -> tuple[str, ...]:
    return tuple(key for key in pairings(scene) if is_heldout(key))


def belongs_to(scene: Scene, split: Split) -> bool:
    """ "train" never holds a held-out pairing, "heldout" always at least one."""
    return bool(heldout_pairings(scene)) == (split == "heldout")


def _ground_words(ground: Ground) -> tuple[str, ...]:
    """Of a graded ground both colours, which are those of plain ones; white is what everything stands before."""
    match ground.kind:
        case "plain" | "graded":
            return tuple(f"{word} background" for word in ground.name.split() if word != DEFAULT_BACKGROUND)
        case "drawn":
            return (f"{ground.name} background",)
        case "place":
            return (f"place {ground.name}",)
