"""The prompts that a model is judged by: functions of a bank and a seed, none of them chosen.

Of each kind every combination of words that training never shows is listed and shuffled; the first ones are asked. So
the prompts of a short run are the first of a longer one, and nobody has tuned anything to them.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, product
from typing import TypeVar

import numpy as np
from numpy.random import Generator

from sanakit.common.seeds import image_seed
from sanakit.evaluation.worlds.questions import Answer, Asked, Question, Together
from sanakit.evaluation.worlds.subject import Subject
from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.sampling.casting import pick, stock_of
from sanakit.worlds.sampling.holdout import is_heldout, pair_key
from sanakit.worlds.sampling.worded_scenes import Words, can_stand_on, is_new, scene_of
from sanakit.worlds.scenes.description import OPPOSITES, Ground, Relation, Scene
from sanakit.worlds.scenes.vocabulary import NUMBER_WORDS
from sanakit.worlds.telling.captions import canonical_caption
from sanakit.worlds.telling.wrong_captions import may_be_called

T = TypeVar("T")
Change = Callable[[Words, Generator], Words | None]

COUNTS = tuple(number for number in NUMBER_WORDS if number > 1)
_NUM_WRONG_TRIES = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Numbers:
    """How much is asked: ``names`` with ``seeds`` each, and prompts of every other kind."""

    names: int | None  # None: all of them
    seeds: int
    singles: int  # one thing, also of the first names
    pairs: int  # of each relation
    counts: int  # of each number
    words: int  # colours, grounds, places
    looks: int  # each side, each style
    nouns: int  # in each language, and as emoji
    long: int


QUICK = Numbers(names=6, seeds=2, singles=4, pairs=3, counts=2, words=5, looks=1, nouns=3, long=3)
DEFAULT = Numbers(names=40, seeds=5, singles=25, pairs=20, counts=14, words=30, looks=8, nouns=14, long=24)
FULL = Numbers(names=None, seeds=5, singles=100, pairs=60, counts=40, words=80, looks=20, nouns=40, long=80)


class PromptSets:
    """The questions about things, their words and their relations, for one model and seed."""

    def __init__(self, subject: Subject, numbers: Numbers, seed: int) -> None:
        self.subject, self.numbers, self.seed = subject, numbers, seed
        self.stock = stock_of(subject.bank)

    def rows(self) -> list[Question | Together]:
        """All rows in the order of the table; those without a single prompt are left out."""
        found: list[Question | Together] = [
            self.names(),
            self.singles("one thing, all names", self.subject.names),
            self.singles("one thing, the first 50 names", self.subject.first_names),
            *self.new_pairings(),
            *self.relations(),
            *self.counts(),
            *self.sides(),
            *self.styles(),
        ]
        there = {row.name for row in found if isinstance(row, Together) or row.asked}
        return [row for row in found if (row.name in there if isinstance(row, Question) else set(row.rows) & there)]

    def names(self) -> Question:
        """Names with several seeds each."""
        rng = self._rng("names")
        limit = len(self.subject.names) if self.numbers.names is None else self.numbers.names
        words = (Words(names=(name,)) for name in shuffled(self.subject.names, rng))
        asked: list[Asked] = []
        for each in words:
            if len(asked) >= limit * self.numbers.seeds:
                break
            drawn = [self._asked(each, seed, self._other_thing, rng) for seed in range(self.numbers.seeds)]
            if None not in drawn:
                asked += [one for one in drawn if one is not None]
        return Question(name="names", answers=("things",), asked=tuple(asked), seeds_each=self.numbers.seeds)

    def singles(self, name: str, names: Sequence[str]) -> Question:
        rng = self._rng(name)
        words = (Words(names=(each,)) for each in shuffled(names, rng))
        return self._question(name, ("things",), words, self.numbers.singles, self._other_thing)

    def new_pairings(self) -> list[Question | Together]:
        """One thing in a colour, before a ground and in a place that training never shows it in.

        The colour is never one that the thing has by itself: training shows that one where no word tells it.
        """
        subject = self.subject
        grounds = [
            *(Ground(name=name) for name in subject.plain),
            *(Ground(kind="drawn", name=n) for n in subject.drawn),
        ]
        places = [Ground(kind="place", name=name) for name in subject.places]
        kinds: list[tuple[Answer, list[Words], Change]] = [
            (
                "colour",
                [
                    Words(names=(n,), colour=c)
                    for n, c in product(subject.names, subject.colours)
                    if all(look.natural != c for look in subject.bank.things[n].looks)
                ],
                self._recolour,
            ),
            ("ground", [Words(names=(n,), ground=g) for n, g in product(subject.names, grounds)], _other(grounds)),
            ("place", [Words(names=(n,), ground=g) for n, g in product(subject.names, places)], _other(places)),
        ]
        rows = [self._new(kind, ("things", kind), words, self.numbers.words, change) for kind, words, change in kinds]
        return [Together(name="one thing, held-out pairing", rows=tuple(row.name for row in rows)), *rows]

    def relations(self) -> list[Question | Together]:
        """A row per relation, of all names; and one of the first fifty, whose relations take turns."""
        known = self.subject.relations
        pairs = {relation: self._pairs(self.subject.names, relation) for relation in known}
        rows = {
            relation: self._new(relation, ("things", "relation"), words, self.numbers.pairs, self._opposite)
            for relation, words in pairs.items()
        }
        first = [self._pairs(self.subject.first_names, relation) for relation in known if relation != "on"]
        rng, name = self._rng("first pairs"), "two things and their relation, the first 50 names"
        turns = [words for turn in zip(*(shuffled(words, rng) for words in first), strict=False) for words in turn]
        few = self._question(name, ("things", "relation"), turns, self.numbers.pairs, self._opposite)
        found: list[Question | Together] = [
            Together(name="two things and their relation", rows=known),
            replace(few, num_new=sum(map(len, first))),
        ]
        for both in (("left", "right"), ("above", "below"), ("in front", "behind")):
            found.append(Together(name=" or ".join(both), rows=both))
            found += [rows[each] for each in both if each in rows]
        return [*found, *(rows[each] for each in known if each == "on")]

    def counts(self) -> list[Question | Together]:
        rows = []
        for number in COUNTS:
            words = [Words(names=(name,), count=number) for name in self.subject.names]
            name = f"{NUMBER_WORDS[number]} alike"
            rows.append(self._new(name, ("things", "count"), words, self.numbers.counts, _other_count))
        return [Together(name="count", rows=tuple(row.name for row in rows)), *rows]

    def sides(self) -> list[Question | Together]:
        """The reader does not tell sides: what is judged is the thing."""
        rows = []
        for side in self.subject.views:
            words = [Words(names=(name,), view=side) for name in self.stock.of_view.get(side, ())]
            name = f"seen from {'the ' if side != 'above' and side != 'behind' else ''}{side}"
            rows.append(self._new(name, ("things",), words, self.numbers.looks, self._other_thing))
        return [Together(name="view (the thing only)", rows=tuple(row.name for row in rows)), *rows]

    def styles(self) -> list[Question | Together]:
        """The reader does not tell styles: what is judged is the thing."""
        rows = []
        for style in self.subject.styles:
            rng, name = self._rng(f"style {style}"), f"style {style}"
            names = shuffled(self.stock.of_style.get(style, ()), rng)
            words = (Words(names=(each,), style=style) for each in names)
            rows.append(self._question(name, ("things",), words, self.numbers.looks, self._other_thing))
        return [Together(name="style (the thing only)", rows=tuple(row.name for row in rows)), *rows]

    def prompts(self, name: str, words: Iterable[tuple[T, Words]], limit: int) -> list[tuple[T, Asked]]:
        """The plain prompts for words, the first that can be drawn, each with what came with its words."""
        rng, found = self._rng(name), list[tuple[T, Asked]]()
        for tag, each in words:
            if len(found) < limit and (asked := self._asked(each, len(found), self._other_thing, rng)):
                found.append((tag, asked))
        return found

    def _new(
        self, name: str, answers: tuple[Answer, ...], words: Sequence[Words], num: int, change: Change
    ) -> Question:
        """Of the words those that training never shows together."""
        new = [each for each in words if is_new(each)]
        row = self._question(name, answers, shuffled(new, self._rng(name)), num, change)
        return replace(row, num_new=len(new))

    def _question(
        self, name: str, answers: tuple[Answer, ...], words: Iterable[Words], num: int, change: Change
    ) -> Question:
        """The first ``num`` of the words that can be drawn."""
        rng, asked = self._rng(f"{name}, drawn"), list[Asked]()
        for each in words:
            if len(asked) == num:
                break
            if (one := self._asked(each, len(asked), change, rng)) is not None:
                asked.append(one)
        return Question(name=name, answers=answers, asked=tuple(asked))

    def _asked(self, words: Words, index: int, change: Change, rng: Generator) -> Asked | None:
        truth = scene_of(words, self.subject.bank, rng)
        if truth is None:
            return None
        prompt = canonical_caption(truth, self.subject.bank)
        return Asked(
            prompt=prompt, seed=image_seed(self.seed, index), truth=truth, wrong=self._wrong(words, change, rng)
        )

    def _wrong(self, words: Words, change: Change, rng: Generator) -> Scene | None:
        for _ in range(_NUM_WRONG_TRIES):
            changed = change(words, rng)
            if changed is None:
                return None
            if (scene := scene_of(changed, self.subject.bank, rng)) is not None:
                return scene
        return None

    @cached_property
    def _new_pairs(self) -> list[tuple[str, str]]:
        pairs = combinations(self.subject.names, 2)
        return [pair for pair in pairs if is_heldout(pair_key(*pair)) and _are_different(pair, self.subject.bank)]

    def _pairs(self, names: Sequence[str], relation: Relation) -> list[Words]:
        """Both orders of all pairs of things that cannot be taken for each other, if training never shows the pair."""
        bank, chosen = self.subject.bank, set(names)
        both = [order for pair in self._new_pairs if chosen.issuperset(pair) for order in (pair, pair[::-1])]
        if relation == "on":
            both = [pair for pair in both if can_stand_on(*pair, bank)]
        return [Words(names=pair, relation=relation) for pair in both]

    def _other_thing(self, words: Words, rng: Generator) -> Words | None:
        own, things = self.subject.bank.things[words.names[0]], self.subject.bank.things
        others = [name for name, thing in things.items() if not may_be_called(own, thing)]
        return replace(words, names=(pick(others, rng), *words.names[1:])) if others else None

    def _recolour(self, words: Words, rng: Generator) -> Words:
        return replace(words, colour=pick([c for c in self.subject.colours if c != words.colour], rng))

    def _opposite(self, words: Words, rng: Generator) -> Words | None:
        if words.relation is None:
            return None
        return replace(words, relation=OPPOSITES.get(words.relation, "left"))

    def _rng(self, what: str) -> Generator:
        """The same for a row whatever other rows there are."""
        return np.random.default_rng((self.seed, zlib.crc32(what.encode())))


def shuffled(choices: Sequence[T], rng: Generator) -> Iterator[T]:
    return (choices[index] for index in rng.permutation(len(choices)))


def _other(grounds: Sequence[Ground]) -> Change:
    def change(words: Words, rng: Generator) -> Words | None:
        others = [ground for ground in grounds if ground != words.ground and ground.kind == words.ground.kind]
        return replace(words, ground=pick(others, rng)) if others else None

    return change


def _other_count(words: Words, rng: Generator) -> Words:
    return replace(words, count=pick([number for number in COUNTS if number != words.count], rng))


def _are_different(names: tuple[str, str], bank: Bank) -> bool:
    first, second = (bank.things[name] for name in names)
    return not may_be_called(first, second) and not may_be_called(second, first)
