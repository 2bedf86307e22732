"""The rows of the table: shares of right pictures with their intervals, and the reader's own errors beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sanakit.evaluation.metrics.bootstrap import Estimate, estimate, estimate_ratio
from sanakit.evaluation.reports.report import Measurement, Report, measured
from sanakit.evaluation.worlds.questions import ENOUGH, Question, Together


@dataclass(frozen=True, kw_only=True, slots=True)
class Marks:
    """Of the pictures of a question in their order: whether the drawn one is right and holds nothing else, whether a
    true one is read as right (the reader's ceiling), and whether a wrong one passes (None: there is none)."""

    right: tuple[bool, ...]
    alone: tuple[bool, ...]
    ceiling: tuple[bool, ...]
    passed: tuple[bool | None, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line. ``of`` says what one sample is; ``share`` is the score divided by that of the row ``base``."""

    name: str
    right: Estimate
    alone: Estimate
    ceiling: Estimate
    wrong: Estimate | None
    of: str = "pictures"
    num_new: int | None = None
    base: str | None = None
    share: Estimate | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def make_rows(questions: Sequence[Question | Together], marks: Mapping[str, Marks], *, seed: int) -> list[Row]:
    """One for each question, in their order; ``marks`` are those of the questions by name."""
    by_name = {each.name: each for each in questions if isinstance(each, Question)}
    rows = []
    for each in questions:
        if isinstance(each, Together):
            rows.append(_together(each, [by_name[name] for name in each.rows if name in by_name], marks, seed))
        else:
            rows.append(_row(each, marks, seed))
    return rows


def _row(question: Question, marks: Mapping[str, Marks], seed: int) -> Row:
    own, each = marks[question.name], question.seeds_each
    base = marks[question.base].right if question.base else ()
    return Row(
        name=question.name,
        right=estimate(_grouped(own.right, each), seed=seed),
        alone=estimate(_grouped(own.alone, each), seed=seed),
        ceiling=estimate(_grouped(own.ceiling, each), seed=seed),
        wrong=_passed(own.passed, seed),
        of=f"names, {each} pictures each" if each > 1 else "pictures",
        num_new=question.num_new,
        base=question.base,
        share=estimate_ratio(own.right, base, seed=seed) if any(base) else None,
    )


def _together(row: Together, questions: Sequence[Question], marks: Mapping[str, Marks], seed: int) -> Row:
    of = [marks[question.name] for question in questions]
    new = [question.num_new for question in questions]
    return Row(
        name=row.name,
        right=estimate([value for each in of for value in each.right], seed=seed),
        alone=estimate([value for each in of for value in each.alone], seed=seed),
        ceiling=estimate([value for each in of for value in each.ceiling], seed=seed),
        wrong=_passed([value for each in of for value in each.passed], seed),
        num_new=sum(number or 0 for number in new) if any(new) else None,
    )


def _grouped(values: Sequence[bool], each: int) -> list[bool]:
    """Whether enough of every ``each`` in turn are true."""
    groups = [values[start : start + each] for start in range(0, len(values), each)]
    return [sum(group) >= ENOUGH * len(group) for group in groups]


def _passed(values: Sequence[bool | None], seed: int) -> Estimate | None:
    known = [value for value in values if value is not None]
    return estimate(known, seed=seed) if known else None


def measurements_of(rows: Sequence[Row]) -> tuple[Measurement, ...]:
    """All numbers of the rows under names of their own."""
    found = []
    for row in rows:
        found += [measured(row.name, row.right), measured(f"{row.name}: and nothing else", row.alone)]
        found.append(measured(f"{row.name}: true pictures read as right", row.ceiling))
        if row.wrong is not None:
            found.append(measured(f"{row.name}: wrong pictures that pass", row.wrong, better="lower"))
        if row.share is not None:
            found.append(measured(f"{row.name} / {row.base}", row.share))
    return tuple(found)


def rows_table(report: Report, rows: Sequence[Row], command: str) -> str:
    """One line per row for a terminal, and below it what is needed to measure it again."""
    width = max(len(row.name) for row in rows)
    head = f"{'':<{width}}  {'right':>6} {'95 %':>9}  {'alone':>5}  {'true':>5}  {'wrong':>5}  {'n':>4}  {'new of':>6}"
    lines = [report.title, head, *(_line(row, width) for row in rows), ""]
    lines += [f"note: {text}" for text in report.warnings]
    settings = {**report.inputs, "seed": report.seed, **report.settings}
    lines.append(", ".join(f"{name} {value}" for name, value in settings.items() if value is not None))
    lines += [f"read by {each.name}: weights {each.weights_hash[:10]}, {each.resize_rule}" for each in report.networks]
    lines += [report.protocol, f"again: {command}"]
    return "\n".join(lines)


def _line(row: Row, width: int) -> str:
    wrong = "" if row.wrong is None else f"{row.wrong.mean:.0%}"
    new = "" if row.num_new is None else str(row.num_new)
    line = (
        f"{row.name:<{width}}  {row.right.mean:>6.0%} {f'{row.right.low:.0%}-{row.right.high:.0%}':>9}  "
        f"{row.alone.mean:>5.0%}  {row.ceiling.mean:>5.0%}  {wrong:>5}  {row.right.num_samples:>4}  {new:>6}"
    )
    if row.of != "pictures":
        line += f"  {round(row.right.mean * row.right.num_samples)} of {row.right.num_samples} {row.of}"
    if row.share is not None:
        line += f"  {row.share.mean:.0%} [{row.share.low:.0%}, {row.share.high:.0%}] of {row.base}"
    return line.rstrip()
