"""Judges, who look at pictures beside a prompt, and what they say together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image

from sanakit.common.errors import RequestError, SanakitError, first_line
from sanakit.pipelines.best_of.ranking import Score
from sanakit.pipelines.record import JudgeReference

Judge = Callable[[Sequence[Image.Image], Sequence[str]], Sequence[Score | float]]
"""Pictures, each with the text at the same place, to a score each.

Such a function may have a ``name`` and ``weights_hash`` for records, and ``check``, which is told a text and raises
RequestError where pictures of it cannot be judged.
"""

_TOGETHER = 8  # pictures that a judge is given at once


@dataclass(frozen=True, slots=True, eq=False)
class Jury:
    """Judges, at least one, and their weights, all 1 if there are none.

    Raises:
        RequestError: there is no judge, or not one weight for each.
    """

    judges: Sequence[Judge]
    weights: Sequence[float] = ()

    def __post_init__(self) -> None:
        if not self.judges:
            raise RequestError("the best of several pictures needs a judge; name one")
        if self.weights and len(self.weights) != len(self.judges):
            raise RequestError(f"{len(self.weights)} weights do not fit {len(self.judges)} judges; give one for each")

    @property
    def references(self) -> tuple[JudgeReference, ...]:
        """As records name them."""
        weights = self.weights or [1.0] * len(self.judges)
        pairs = zip(self.judges, weights, strict=True)
        return tuple(
            JudgeReference(name=name_of(judge), hash=getattr(judge, "weights_hash", ""), weight=weight)
            for judge, weight in pairs
        )

    def check(self, text: str) -> None:
        """Raises RequestError where a judge says that it cannot judge pictures of this text."""
        for judge in self.judges:
            if hasattr(judge, "check"):
                judge.check(text)

    def scores(self, pictures: Sequence[Callable[[], Image.Image]], text: str) -> list[list[Score]]:
        """What each judge says of each picture; they are made a few at a time, and not kept.

        Raises:
            SanakitError: a judge fails, or says no score of a picture.
        """
        found: list[list[Score]] = [[] for _ in self.judges]
        for start in range(0, len(pictures), _TOGETHER):
            images = [make() for make in pictures[start : start + _TOGETHER]]
            for judge, own in zip(self.judges, found, strict=True):
                own += _asked(judge, images, text)
        for judge, own in zip(self.judges, found, strict=True):
            if not any(map(is_number, own)):
                raise SanakitError(f"the judge {name_of(judge)} gave no number for any picture of {text!r}")
        return found


def name_of(judge: Judge) -> str:
    """As records and errors name it."""
    return str(getattr(judge, "name", None) or getattr(judge, "__name__", type(judge).__name__))


def is_number(score: Score) -> bool:
    """Whether a score can be compared."""
    return not any(map(math.isnan, score))


def _asked(judge: Judge, images: Sequence[Image.Image], text: str) -> list[Score]:
    try:
        said = list(judge(images, [text] * len(images)))
        scores = [tuple(map(float, each)) if isinstance(each, Sequence) else (float(each),) for each in said]
    except (SanakitError, MemoryError):
        raise
    except Exception as error:
        raise SanakitError(f"the judge {name_of(judge)} failed on pictures of {text!r}: {first_line(error)}") from error
    if len(scores) != len(images) or not all(scores):
        raise SanakitError(
            f"the judge {name_of(judge)} gave {len(scores)} scores for {len(images)} pictures; each needs one"
        )
    return scores
