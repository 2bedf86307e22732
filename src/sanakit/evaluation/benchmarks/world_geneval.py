"""A GenEval list of a bank's words: GenEval's six tasks, in its own format."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator

from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.banks.things import Thing
from sanakit.worlds.sampling.casting import clashes, may_be, pick
from sanakit.worlds.scenes.description import Ground
from sanakit.worlds.scenes.vocabulary import COLOURS, NUMBER_WORDS
from sanakit.worlds.telling.phrases import with_article

NUM_EACH = 40  # prompts of each task
_PHRASES = {"left of": "to the left of", "right of": "to the right of", "above": "above", "below": "below"}

Record = dict[str, Any]


def world_geneval(bank: Bank, *, seed: int = 0) -> list[Record]:
    """`NUM_EACH` prompts of each tag, the tags in turns; the same bank and seed give the same list."""
    rng, makers = np.random.default_rng((seed, 0x6E7A)), (_single, _two, _counting, _colours, _position, _attributes)
    return [make(bank, rng) for _ in range(NUM_EACH) for make in makers]


def _single(bank: Bank, rng: Generator) -> Record:
    (thing,) = _things(bank, rng, 1)
    return _record("single_object", [_wanted(thing)], with_article(thing.name))


def _two(bank: Bank, rng: Generator) -> Record:
    first, second = _things(bank, rng, 2)
    phrase = f"{with_article(first.name)} and {with_article(second.name)}"
    return _record("two_object", [_wanted(first), _wanted(second)], phrase)


def _counting(bank: Bank, rng: Generator) -> Record:
    (thing,) = _things(bank, rng, 1)
    number = int(rng.integers(2, 1 + max(NUMBER_WORDS)))
    record = _record("counting", [_wanted(thing, number)], f"{NUMBER_WORDS[number]} {thing.plural}")
    return record | {"exclude": [_wanted(thing, number + 1)]}


def _colours(bank: Bank, rng: Generator) -> Record:
    thing, colour = _coloured(bank, rng)
    return _record("colors", [_wanted(thing) | {"color": colour}], with_article(f"{colour} {thing.name}"))


def _position(bank: Bank, rng: Generator) -> Record:
    target, placed = _things(bank, rng, 2)
    relation = pick(tuple(_PHRASES), rng)
    include = [_wanted(target), _wanted(placed) | {"position": [relation, 0]}]
    phrase = f"{with_article(placed.name)} {_PHRASES[relation]} {with_article(target.name)}"
    return _record("position", include, phrase)


def _attributes(bank: Bank, rng: Generator) -> Record:
    (first, one), (second, other) = _coloured(bank, rng), _coloured(bank, rng)
    while second.name == first.name:
        second, other = _coloured(bank, rng)
    include = [_wanted(first) | {"color": one}, _wanted(second) | {"color": other}]
    phrase = f"{with_article(f'{one} {first.name}')} and {with_article(f'{other} {second.name}')}"
    return _record("color_attr", include, phrase)


def _things(bank: Bank, rng: Generator, num: int) -> list[Thing]:
    """Different ones that can be counted."""
    things = [thing for thing in bank.things.values() if thing.plural != thing.name]
    return [things[index] for index in rng.choice(len(things), num, replace=False)]


def _coloured(bank: Bank, rng: Generator) -> tuple[Thing, str]:
    """A thing and a colour that it can have, in which it is seen before the ground that an unsaid one is."""
    while True:
        (thing,) = _things(bank, rng, 1)
        colours = [
            colour
            for colour in COLOURS
            if any(may_be(look, colour) and not clashes(Ground(), look, colour) for look in thing.looks)
        ]
        if colours:
            return thing, pick(colours, rng)


def _wanted(thing: Thing, count: int = 1) -> Record:
    return {"class": thing.name, "count": count}


def _record(tag: str, include: list[Record], prompt: str) -> Record:
    return {"tag": tag, "include": include, "prompt": prompt}
