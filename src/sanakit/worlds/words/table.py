"""What goes into ``words.json`` of a model: names, synonyms, other languages, emoji, and small words of captions."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from importlib import resources
from typing import Any

from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.banks.things import Thing
from sanakit.worlds.sampling.casting import stock_of
from sanakit.worlds.scenes.vocabulary import BACKGROUNDS, COLOURS, FIRST_NAMES, NUMBER_WORDS, SIZE_WORDS
from sanakit.worlds.telling.motions import MOTION_WORDINGS, SPEED_WORDS
from sanakit.worlds.telling.phrases import RELATION_WORDINGS, STYLES, VIEWS
from sanakit.worlds.world_scenes import WorldScenes

VERSION = 1
_NUM_CAPTIONS = 1500
_NUM_NEAREST = 3


def words_of(bank: Bank, names: Iterable[str] | None = None, *, moving: bool = False) -> dict[str, Any]:
    """The words that a model knows which is trained on these things of a bank, as plain values.

    ``things`` have ``name``, ``plural``, ``synonyms`` (singular, plural), ``keywords``, ``emoji`` and ``names`` by
    language. ``untrained`` are words of the bank that no chosen thing has, each with the chosen names nearest to it, by
    the keywords that they share; ``untrained_emoji`` are called so. ``other_words`` are all that captions say besides.

    Args:
        bank: of the training.
        names: of its things; None for all.
        moving: captions also say what things do, and how quickly: ``motions`` and ``speeds``.

    Raises:
        RequestError: a name that the bank does not know.
    """
    known = bank if names is None else bank.subset(names)
    stock = stock_of(known)
    others = [thing for name, thing in bank.things.items() if name not in known.things]
    scenes = WorldScenes(known, "train", 0, moving=moving)
    captions = [scenes.truth(index)[1] for index in range(_NUM_CAPTIONS)]
    return {
        "version": VERSION,
        "things": [_entry(thing) for thing in known.things.values()],
        "colours": list(COLOURS),
        "numbers": list(NUMBER_WORDS.values()),
        "sizes": {name: list(words) for name, words in SIZE_WORDS.items()},
        "positions": [wordings[0].replace("{}", "").strip() for wordings in RELATION_WORDINGS.values()] + ["next to"],
        "views": {name: list(wordings) for name, wordings in VIEWS.items() if name in stock.of_view},
        "styles": {name: list(wordings) for name, wordings in STYLES.items() if name in stock.of_style},
        "grounds": list(BACKGROUNDS),
        "places": {name: list(place.wordings) for name, place in known.places.items()},
        "people": _people(known),
        **(_motions(captions) if moving else {}),
        "other_words": sorted(_other_words(captions, known)),
        "untrained": _untrained(known, others),
        "untrained_emoji": {sign: thing.name for thing in others for sign in _emoji(thing)},
        "languages": languages() if moving else _without_motions(languages()),
    }


def languages() -> dict[str, Any]:
    """Small words of other languages by code: English to theirs, "" for what is left out, and how a language goes.

    Of English itself there are ``other`` words that a thing of the banks is called by in another language: who writes
    "pan" means no bread.
    """
    content: dict[str, Any] = json.loads(resources.files(__package__).joinpath("languages.json").read_text("utf-8"))
    return content


def _without_motions(told: dict[str, Any]) -> dict[str, Any]:
    """Where nothing moves, "a la izquierda" is a place."""
    moving = {texts[0] for texts in (*MOTION_WORDINGS.values(), *SPEED_WORDS.values())}
    for language in told.values():
        language["words"] = {
            english: words for english, words in language.get("words", {}).items() if english not in moving
        }
    return told


def _entry(thing: Thing) -> dict[str, Any]:
    names = {code: [name] for code, name in thing.names.items()}
    for code, more in thing.more_names.items():
        names[code] = list(dict.fromkeys([*names.get(code, ()), *more]))
    if "zh-Hant" in names:
        names["zh"] = list(dict.fromkeys([*names.get("zh", ()), *names.pop("zh-Hant")]))
    return {
        "name": thing.name,
        "plural": thing.plural,
        "synonyms": [list(pair) for pair in thing.synonyms],
        "keywords": list(thing.keywords),
        "emoji": _emoji(thing),
        "names": names,
    }


def _emoji(thing: Thing) -> list[str]:
    return [*([thing.emoji] if thing.emoji else ()), *thing.more_emoji]


def _people(bank: Bank) -> dict[str, list[str]]:
    parts: dict[str, set[str]] = {}
    for person in bank.people:
        for part, word in person.parts.items():
            parts.setdefault(part, set()).add(word)
    return {part: sorted(words) for part, words in sorted(parts.items())}


def _motions(captions: Collection[str]) -> dict[str, dict[str, list[str]]]:
    """The wordings of what things of these captions do: drawings without other sides do not turn around."""
    said = {
        kind: any(text in caption for caption in captions for text in texts) for kind, texts in MOTION_WORDINGS.items()
    }
    return {
        "motions": {kind: list(texts) for kind, texts in MOTION_WORDINGS.items() if said[kind]},
        "speeds": {name: list(texts) for name, texts in SPEED_WORDS.items()},
    }


def _other_words(captions: Iterable[str], bank: Bank) -> set[str]:
    """Words of captions that no name has."""
    said = {word for text in captions for word in re.findall(r"[^\W\d_]+(?:['’-][^\W_]+)*", text.lower())}
    names = (text for thing in bank.things.values() for text in _texts(thing))
    return said - {word for name in names for word in name.lower().split()}


def _texts(thing: Thing) -> list[str]:
    return [thing.name, thing.plural, *(word for pair in thing.synonyms for word in pair)]


def _untrained(known: Bank, others: Collection[Thing]) -> dict[str, list[str]]:
    """The nearest chosen names of every other one: many shared keywords, rare ones first, and the group."""
    counts = Counter(word for thing in (*known.things.values(), *others) for word in _about(thing))
    taken = {text.lower() for thing in known.things.values() for text in _texts(thing)}
    found: dict[str, list[str]] = {}
    for other in others:
        near = _nearest(other, known.things, counts)
        for text in _texts(other):
            if text.lower() not in taken:
                found.setdefault(text.lower(), near)
    return found


def _nearest(other: Thing, things: Mapping[str, Thing], counts: Mapping[str, int]) -> list[str]:
    def likeness(thing: Thing) -> float:
        shared = sum(1 / math.log2(1 + counts[word]) for word in _about(other) & _about(thing))
        return shared * (1.3 if thing.group == other.group else 1.0)

    first = list(FIRST_NAMES)  # of equals, those that everybody knows
    known = sorted(things.values(), key=lambda thing: thing.name not in first)
    ranked = sorted(known, key=likeness, reverse=True)[:_NUM_NEAREST]
    return [thing.name for thing in ranked if likeness(thing) > 0]


def _about(thing: Thing) -> set[str]:
    return {*thing.keywords, *thing.name.lower().split()}
