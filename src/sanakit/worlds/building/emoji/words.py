"""Reads ``things.txt``: what the emoji are called here, and which are left out, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import cast

from sanakit.worlds.banks.things import Group

_VARIATION = "\ufe0f"  # asks for the coloured form; some lists write it and some do not
_LEFT_OUT = "left out"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One thing of the list. ``synonyms`` are pairs of singular and plural; ``emoji`` stand without variation signs."""

    name: str
    plural: str
    group: Group
    emoji: tuple[str, ...]
    synonyms: tuple[tuple[str, str], ...]
    floats: bool


@lru_cache(maxsize=1)
def emoji_entries() -> tuple[Entry, ...]:
    """The things of the list, in its order."""
    return tuple(_entry(line, cast(Group, section)) for section, line in _lines() if section != _LEFT_OUT)


@lru_cache(maxsize=1)
def left_out() -> Mapping[str, str]:
    """Subgroup of emojibase (``*`` ends a beginning) or label -> the reason why it is no thing of the bank."""
    rows = (line.split(" : ", 1) for section, line in _lines() if section == _LEFT_OUT)
    return {label: reason for labels, reason in rows for label in labels.split(", ")}


def bare(emoji: str) -> str:
    """An emoji without its variation signs, as all lists are compared here."""
    return emoji.replace(_VARIATION, "")


def code_points(emoji: str) -> str:
    """``1f43b-200d-2744``: the name of an emoji in the packages of pictures, variation signs left out."""
    return "-".join(f"{ord(sign):04x}" for sign in bare(emoji))


def plural_of(noun: str) -> str:
    """The plural by the rule; irregular ones stand in the lists. Of a "bowl of fruit" it is the bowl's."""
    if " of " in noun:
        head, _, rest = noun.partition(" of ")
        return f"{plural_of(head)} of {rest}"
    if noun.endswith(("s", "x", "ch", "sh")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"


def _lines() -> list[tuple[str, str]]:
    text = resources.files("sanakit").joinpath("worlds", "building", "emoji", "things.txt").read_text("utf-8")
    section, found = "", []
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            found.append((section, line))
    return found


def _entry(line: str, group: Group) -> Entry:
    words, _, rest = line.partition(" : ")
    emoji, _, synonyms = rest.partition(" ; ")
    name, plural = _forms(words.removesuffix(" ^"))
    return Entry(
        name=name,
        plural=plural,
        group=group,
        emoji=tuple(bare(one) for one in emoji.split() if one != "-"),
        synonyms=tuple(_forms(pair) for pair in synonyms.split(", ") if pair),
        floats=words.endswith(" ^"),
    )


def _forms(pair: str) -> tuple[str, str]:
    word, _, plural = pair.strip().partition("/")
    return word, plural or plural_of(word)
