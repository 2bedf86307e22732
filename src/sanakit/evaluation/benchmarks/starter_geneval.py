"""A GenEval list of the starter's words: GenEval's six tasks, in its own format."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator

from sanakit.worlds.scenes.vocabulary import COLOURS, DEFAULT_BACKGROUND, ITEMS, NUMBER_WORDS, background_clashes

NUM_EACH = 40  # prompts of each task
_POSITIONS = ("left of", "right of", "above", "below")
_PHRASES = {"left of": "to the left of", "right of": "to the right of", "above": "above", "below": "below"}

Record = dict[str, Any]


def starter_geneval(*, seed: int = 0, num_each: int = NUM_EACH) -> list[Record]:
    """``num_each`` prompts of each tag, the tags in turns; the same seed gives the same list."""
    rng = np.random.default_rng((seed, 0x6E7A))
    makers = (_single, _two, _counting, _colours, _position, _attributes)
    return [make(rng) for _ in range(num_each) for make in makers]


def _single(rng: Generator) -> Record:
    (name,) = _names(rng, 1)
    return _record("single_object", [_wanted(name)], f"a {name}")


def _two(rng: Generator) -> Record:
    first, second = _names(rng, 2)
    return _record("two_object", [_wanted(first), _wanted(second)], f"a {first} and a {second}")


def _counting(rng: Generator) -> Record:
    (name,) = _names(rng, 1)
    number = int(rng.integers(2, 1 + max(NUMBER_WORDS)))
    record = _record("counting", [_wanted(name, number)], f"{NUMBER_WORDS[number]} {ITEMS[name].plural}")
    return record | {"exclude": [_wanted(name, number + 1)]}


def _colours(rng: Generator) -> Record:
    (name,) = _names(rng, 1)
    colour = _colour(rng, name)
    return _record("colors", [_wanted(name) | {"color": colour}], f"a {colour} {name}")


def _position(rng: Generator) -> Record:
    target, placed = _names(rng, 2)
    relation = _POSITIONS[rng.integers(len(_POSITIONS))]
    include = [_wanted(target), _wanted(placed) | {"position": [relation, 0]}]
    return _record("position", include, f"a {placed} {_PHRASES[relation]} a {target}")


def _attributes(rng: Generator) -> Record:
    first, second = _names(rng, 2)
    one, other = _colour(rng, first), _colour(rng, second)
    include = [_wanted(first) | {"color": one}, _wanted(second) | {"color": other}]
    return _record("color_attr", include, f"a {one} {first} and a {other} {second}")


def _names(rng: Generator, num: int) -> list[str]:
    names = list(ITEMS)
    return [names[index] for index in rng.choice(len(names), num, replace=False)]


def _colour(rng: Generator, name: str) -> str:
    """A colour in which the object can be seen before the background that an unsaid one is."""
    visible = [colour for colour in COLOURS if not background_clashes(DEFAULT_BACKGROUND, ITEMS[name], colour)]
    return visible[rng.integers(len(visible))]


def _wanted(name: str, count: int = 1) -> Record:
    return {"class": name, "count": count}


def _record(tag: str, include: list[Record], phrase: str) -> Record:
    words = phrase.split(" ")
    said = [
        "an" if word == "a" and following[0] in "aeiou" else word
        for word, following in zip(words, [*words[1:], " "], strict=True)
    ]
    return {"tag": tag, "include": include, "prompt": " ".join(said)}
