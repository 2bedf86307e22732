"""Sheets of pictures, so that an eye can check what a number says: one for each question, and the README's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from sanakit.common.files import written_aside
from sanakit.common.pixels import Picture
from sanakit.common.progress import OnProgress, no_progress
from sanakit.evaluation.drawing import Draw
from sanakit.evaluation.reports.picture_grid import picture_grid
from sanakit.evaluation.worlds.questions import Asked, Question
from sanakit.worlds.telling.sheet_prompts import SHEET_PROMPTS

_COLUMNS = 8
_BATCH = 8


def question_sheet(question: Question, pictures: Sequence[Picture], right: Sequence[bool]) -> Image.Image:
    """All pictures of a question in their order, each under its prompt; ``-`` marks those that count as wrong."""
    marks = ["" if good else "- " for good in right]
    labels, in_english = (
        [mark + words(asked) for mark, asked in zip(marks, question.asked, strict=True)]
        for words in (lambda asked: asked.prompt, _in_english)
    )
    columns = 2 * question.seeds_each if question.seeds_each > 1 else _COLUMNS
    return picture_grid(pictures, labels, columns=columns, in_english=in_english)


def _in_english(asked: Asked) -> str:
    return ", ".join(f"{thing.colour} {thing.name}" if thing.colour else thing.name for thing in asked.truth.objects)


def readme_sheet(draw: Draw, *, on_progress: OnProgress = no_progress) -> Image.Image:
    """Every prompt of `SHEET_PROMPTS` with seed 0, none left out."""
    pictures = list[Picture]()
    for start in range(0, len(SHEET_PROMPTS), _BATCH):
        batch = SHEET_PROMPTS[start : start + _BATCH]
        pictures += draw(batch, [0] * len(batch))
        on_progress(len(pictures), len(SHEET_PROMPTS), "drawing")
    return picture_grid(pictures, SHEET_PROMPTS, columns=_COLUMNS)


def save_sheet(sheet: Image.Image, path: Path) -> None:
    """PNG, whole or not at all; what was there is replaced."""
    with written_aside(path, force=True) as building:
        sheet.save(building, "PNG")
