"""The score of a model on the worlds: prompts drawn, pictures read back, one row per question."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sanakit.common.errors import ConfigError
from sanakit.common.pixels import Picture
from sanakit.common.progress import OnProgress, no_progress
from sanakit.evaluation.drawing import Draw
from sanakit.evaluation.reports.report import Report, Setting, use_of
from sanakit.evaluation.worlds.as_written import written_rows
from sanakit.evaluation.worlds.prompt_sets import Numbers, PromptSets
from sanakit.evaluation.worlds.questions import Asked, Question, Together
from sanakit.evaluation.worlds.rows import Marks, Row, make_rows, measurements_of
from sanakit.evaluation.worlds.subject import Subject
from sanakit.scoring.named import NamedReader
from sanakit.worlds.drawing.compose import compose
from sanakit.worlds.reading.judge import Verdict, judge
from sanakit.worlds.reading.read_scene import ReadScene
from sanakit.worlds.scenes.description import Scene

PROTOCOL = (
    "right: share of pictures in which the reader sees all that the row asks for; a name is right if 80 % of its "
    "pictures are. alone: and nothing else is there. true: the same question on composed pictures of the same scenes, "
    "the reader's ceiling. wrong: composed pictures with one wrong word that pass as right. new of: combinations of "
    "words that training never shows, of which these are a random sample; without a number training knows all words. "
    "Intervals: 95 %, percentile bootstrap over n."
)

Keep = Callable[[Question, Sequence[Picture], Sequence[bool]], None]
"""Told of each question, its pictures and which of them are right."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluated:
    """The report, and its rows."""

    report: Report
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Examiner:
    """What the pictures come from and who reads them."""

    draw: Draw
    reader: NamedReader
    subject: Subject
    batch_size: int = 8


def all_questions(subject: Subject, numbers: Numbers, seed: int) -> list[Question | Together]:
    """Everything that is asked of a model, in the order of the table."""
    sets = PromptSets(subject, numbers, seed)
    return [*sets.rows(), *written_rows(sets)]


def evaluate_starter(
    examiner: Examiner,
    questions: Sequence[Question | Together],
    *,
    seed: int,
    settings: Mapping[str, Setting],
    keep: Keep | None = None,
    on_progress: OnProgress = no_progress,
) -> Evaluated:
    """Draw, read and judge every prompt of the questions.

    Args:
        settings: what made the pictures (model, steps, guidance, dtype, ...); written into the report as it is.
        keep: is given the pictures of every question.

    Raises:
        ConfigError: there is no question, or ``draw`` returned another number of pictures than prompts.
    """
    asked = [each for each in questions if isinstance(each, Question)]
    total, done = sum(len(question.asked) for question in asked), 0
    if not total:
        raise ConfigError("there is nothing to ask: the bank shows none of the names")
    marks, lines = dict[str, Marks](), dict[str, list[dict[str, Any]]]()
    for question in asked:
        pictures = list[Picture]()
        for batch in _drawn(examiner, question):
            pictures += batch
            on_progress(done + len(pictures), total, "drawing and reading")
        marks[question.name], lines[question.name] = _marked(examiner, question, pictures)
        if keep is not None:
            keep(question, pictures, marks[question.name].right)
        done += len(pictures)
    rows = make_rows(questions, marks, seed=seed)
    bank = examiner.subject.bank
    report = Report(
        title="What the starter draws",
        protocol=PROTOCOL,
        measurements=measurements_of(rows),
        seed=seed,
        inputs={"pictures": total, "names": len(bank.things), "bank": bank.name, "hash of the bank": bank.hash[:10]},
        settings=settings,
        networks=(use_of(examiner.reader),),
        warnings=examiner.subject.notes,
        details={"rows": [row.to_json() for row in rows], "pictures": lines},
    )
    return Evaluated(report=report, rows=tuple(rows))


def _drawn(examiner: Examiner, question: Question) -> Iterator[list[Picture]]:
    for start in range(0, len(question.asked), examiner.batch_size):
        batch = question.asked[start : start + examiner.batch_size]
        made = list(examiner.draw([asked.prompt for asked in batch], [asked.seed for asked in batch]))
        if len(made) != len(batch):
            raise ConfigError(f"generate returned {len(made)} pictures for {len(batch)} prompts; each prompt needs one")
        yield made


def _marked(examiner: Examiner, question: Question, pictures: Sequence[Picture]) -> tuple[Marks, list[dict[str, Any]]]:
    right, alone, ceiling, passed = list[bool](), list[bool](), list[bool](), list[bool | None]()
    lines = []
    for asked, picture in zip(question.asked, pictures, strict=True):
        read = examiner.reader.read(picture)
        verdict = judge(asked.truth, read)
        right.append(answered(question, verdict))
        alone.append(verdict.all_right)
        ceiling.append(answered(question, judge(asked.truth, _read_scene(examiner, asked.truth, picture))))
        wrong = None if asked.wrong is None else _read_scene(examiner, asked.wrong, picture)
        passed.append(None if wrong is None else answered(question, judge(asked.truth, wrong)))
        lines.append(_line(asked, read, verdict, right[-1]))
    return Marks(right=tuple(right), alone=tuple(alone), ceiling=tuple(ceiling), passed=tuple(passed)), lines


def _read_scene(examiner: Examiner, scene: Scene, like: Picture) -> ReadScene:
    """A composed scene of the size of a picture, read back."""
    return examiner.reader.read(compose(scene, examiner.subject.bank, like.shape[0]))


def answered(question: Question, verdict: Verdict) -> bool:
    """Whether all is there that the question asks for."""
    answers = verdict.answers()
    return all(answers.get(name, True) for name in question.answers)


def _line(asked: Asked, read: ReadScene, verdict: Verdict, right: bool) -> dict[str, Any]:
    return {
        "prompt": asked.prompt,
        "seed": asked.seed,
        "right": right,
        "answers": verdict.answers(),
        "read": [
            f"{thing.colour} {thing.name}" if thing.colour else thing.name or "something" for thing in read.objects
        ],
        "ground": read.place or read.ground,
    }
