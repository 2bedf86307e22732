"""Whether an adapter taught a model one new thing: the thing under its word in prompts that it was not taught with, and
what became of all other prompts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice, product, zip_longest
from typing import TypeVar

import numpy as np

from sanakit.common.errors import RequestError
from sanakit.common.pixels import Picture
from sanakit.common.progress import OnProgress, no_progress
from sanakit.evaluation.reports.report import Report, Setting, mean_of, use_of
from sanakit.evaluation.worlds.prompt_sets import DEFAULT, PromptSets, shuffled
from sanakit.evaluation.worlds.questions import Asked, Question
from sanakit.evaluation.worlds.starter import answered
from sanakit.evaluation.worlds.subject import Subject
from sanakit.scoring.named import NamedReader
from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.drawing.compose import compose
from sanakit.worlds.reading.judge import judge
from sanakit.worlds.reading.read_scene import ReadScene
from sanakit.worlds.sampling.worded_scenes import WHITE, Words
from sanakit.worlds.scenes.description import Ground, Scene
from sanakit.worlds.scenes.vocabulary import NUMBER_WORDS
from sanakit.worlds.telling.captions import canonical_caption

PROTOCOL = (
    "Prompts with the word of a thing of a bank that the model does not know, a third each of two to four alike, of it "
    "beside another thing, and before grounds that it was not taught with. named: the reader names the thing in the "
    "picture; right: and all else is as asked; true: named, in composed pictures of the same scenes, the reader's "
    "ceiling; rebuilt: and in these encoded and decoded, the autoencoder's ceiling. other prompts: right, of prompts "
    "without the word, with the adapter and without it, same seeds. Intervals: 95 %, percentile bootstrap."
)
NUM_PICTURES = 6

T = TypeVar("T")
Paint = Callable[[str, int, bool], Picture]
"""Prompt, seed and whether the adapter counts, to a picture."""


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """A thing of a bank, the word that is taught for it, and what else the model knows; ``num`` prompts have the word,
    and ``num_others`` have not.

    Raises:
        RequestError: the bank has no such thing, or the model knows it or the word already.
    """

    subject: Subject
    whole: Bank
    thing: str
    word: str
    num: int = 40
    num_others: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.word.strip() or self.word in self.subject.names:
            raise RequestError(f"the word {self.word!r} cannot stand for it; give one that the model does not know")
        if self.thing in self.subject.names:
            raise RequestError(
                f"the model knows {self.thing!r} already; name a thing of the bank that it was not shown"
            )
        if self.thing not in self.whole.things:
            raise RequestError(f"the bank {self.whole.name!r} has no {self.thing!r} to teach")

    def pictures(self) -> list[tuple[Picture, str]]:
        """What it is taught from: one thing before white and before five grounds, with a caption each."""
        words = [
            (None, Words(names=(self.thing,), ground=each)) for each in [WHITE, *self._grounds[: NUM_PICTURES - 1]]
        ]
        bank = self._bank
        return [(compose(a.truth, bank), a.prompt) for _, a in self._prompts("taught", words, NUM_PICTURES)]

    def questions(self) -> list[tuple[str, Asked]]:
        """What is asked afterwards, with the kind of each."""
        rng = np.random.default_rng(self.seed)
        others = list(shuffled(self.subject.names, rng))
        relations = [each for each in self.subject.relations if each != "on"]
        pairs = zip(cycle(others), cycle(relations), cycle((False, True)), strict=False)
        kinds: dict[str, Iterable[Words]] = {
            "several": cycle(Words(names=(self.thing,), count=number) for number in NUMBER_WORDS if number > 1),
            "beside another thing": (
                Words(names=(other, self.thing) if last else (self.thing, other), relation=relation)
                for other, relation, last in pairs
            ),
            "before a ground": cycle(
                Words(names=(self.thing,), ground=each) for each in self._grounds[NUM_PICTURES - 1 :]
            ),
        }
        turns = (turn for each in zip(*kinds.values(), strict=False) for turn in zip(kinds, each, strict=True))
        return self._prompts("asked", islice(turns, 3 * self.num), self.num)  # some words cannot be drawn together

    @property
    def _bank(self) -> Bank:
        return self.whole.subset([*self.subject.names, self.thing])

    @property
    def _grounds(self) -> list[Ground]:
        subject = self.subject
        plain, drawn = [Ground(name=n) for n in subject.plain], [Ground(kind="drawn", name=n) for n in subject.drawn]
        return list(shuffled([*plain, *drawn], np.random.default_rng(self.seed)))

    def _prompts(self, name: str, words: Iterable[tuple[T, Words]], num: int) -> list[tuple[T, Asked]]:
        """In which the thing has its word."""
        bank, sets = self._bank, PromptSets(replace(self.subject, bank=self._bank), DEFAULT, self.seed)
        found = sets.prompts(f"{name} {self.thing}", words, num)
        many = f"{self.word}s"
        bank.things = {**bank.things, self.thing: replace(bank.things[self.thing], name=self.word, plural=many)}
        return [
            (tag, replace(asked, prompt=canonical_caption(asked.truth, bank).replace(many, self.word)))
            for tag, asked in found
        ]


def other_questions(subject: Subject, num: int, seed: int) -> list[tuple[Question, Asked]]:
    """The first of each kind of question in turn."""
    sets = PromptSets(subject, replace(DEFAULT, singles=num, pairs=num, counts=num, words=num), seed)
    rows = [sets.singles("one thing", subject.names), *sets.new_pairings(), *sets.relations(), *sets.counts()]
    asked = [[(row, each) for each in row.asked] for row in rows if isinstance(row, Question)]
    return list(islice(_in_turn(asked), num))


def taught_report(
    paint: Paint,
    reader: NamedReader,
    lesson: Lesson,
    *,
    rebuild: Callable[[Picture], Picture],
    settings: Mapping[str, Setting],
    on_progress: OnProgress = no_progress,
) -> Report:
    """Paint and read the prompts with the word, and the others twice.

    Args:
        rebuild: a picture as the model's autoencoder has it.
    """
    seed, asked = lesson.seed, lesson.questions()
    others = other_questions(lesson.subject, lesson.num_others, seed)
    total = len(asked) + 2 * len(others)
    rows, lines = defaultdict[str, list[bool]](list), []
    for number, (kind, each) in enumerate(asked, start=1):
        read, whole = reader.read(paint(each.prompt, each.seed, True)), compose(each.truth, lesson.whole)
        named, right = _named(lesson.thing, read), _right(each.truth, read)
        rows["named"].append(named)
        rows[f"named, {kind}"].append(named)
        rows["right"].append(right)
        rows["true"].append(_named(lesson.thing, reader.read(whole)))
        rows["rebuilt"].append(_named(lesson.thing, reader.read(rebuild(whole))))
        lines.append({"prompt": each.prompt, "seed": each.seed, "named": named, "right": right})
        on_progress(number, total, "drawing and reading")
    for number, (counts, (question, each)) in enumerate(product((True, False), others), start=len(asked) + 1):
        read = reader.read(paint(each.prompt, each.seed, counts))
        name = "other prompts" if counts else "other prompts, without it"
        rows[name].append(answered(question, judge(each.truth, read)))
        on_progress(number, total, "drawing and reading")
    return Report(
        title=f"What {lesson.word} became: {lesson.thing}",
        protocol=PROTOCOL,
        measurements=tuple(mean_of(name, values, seed=seed) for name, values in rows.items()),
        seed=seed,
        inputs={"prompts": len(asked), "other prompts": len(others), "thing": lesson.thing, "word": lesson.word},
        settings=settings,
        networks=(use_of(reader),),
        details={"pictures": lines},
    )


def _named(thing: str, read: ReadScene) -> bool:
    return any(each.name == thing for each in read.objects)


def _right(truth: Scene, read: ReadScene) -> bool:
    answers = judge(truth, read).answers()
    return all(right for name, right in answers.items() if name != "all_right")


def _in_turn(rows: Sequence[Sequence[T]]) -> Iterator[T]:
    for turn in zip_longest(*rows):
        yield from (each for each in turn if each is not None)
