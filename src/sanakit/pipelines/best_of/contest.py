"""The candidates of one prompt, and what is said of them in records."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sanakit.common.seeds import image_seed
from sanakit.pipelines.best_of.judging import Jury
from sanakit.pipelines.best_of.ranking import Score
from sanakit.pipelines.best_of.settings import BestOf
from sanakit.pipelines.plan import PicturePlan
from sanakit.pipelines.record import Candidate, Choice, PictureRecord


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Contest:
    """``plan`` and ``record`` are those of the first candidate, as if it were a picture of its own."""

    settings: BestOf
    jury: Jury
    plan: PicturePlan
    record: PictureRecord

    @property
    def plans(self) -> list[PicturePlan]:
        """Of all candidates; picture j of a prompt has the same seed whether or not it is a candidate."""
        request = self.plan.request
        seeds = [image_seed(request.seed, number) for number in range(self.settings.num)]
        return [replace(self.plan, request=request.model_copy(update={"seed": seed})) for seed in seeds]

    @property
    def num_steps(self) -> int:
        """That are done of each candidate which is not dropped."""
        return self.plan.solver.num_steps - self.plan.start

    @property
    def stages(self) -> list[int]:
        """Steps of the solver before which candidates are dropped."""
        return [self.plan.start + done for done in self.settings.stages(self.num_steps)]

    def choice(self, place: int, said: Mapping[int, Sequence[Score]], dropped: Mapping[int, int]) -> Choice:
        """What the record of the winner says that came out at ``place``.

        Args:
            said: of each candidate what each judge said the last time.
            dropped: after how many steps, of those that were.
        """
        seeds = [plan.request.seed for plan in self.plans]
        return Choice(
            place=place,
            keep=self.settings.keep,
            mode=self.settings.mode,
            stages=tuple(self.stages),
            judges=self.jury.references,
            candidates=tuple(
                Candidate(
                    seed=seed, scores=tuple(map(_finite, said.get(number, ()))), dropped_after=dropped.get(number)
                )
                for number, seed in enumerate(seeds)
            ),
        )

    def place_of(self, record: PictureRecord) -> int | None:
        """The place at which a picture came out of this very contest; None for any other picture."""
        choice = record.choice
        if choice is None or record.model != self.record.model:
            return None
        bare = tuple(Candidate(seed=each.seed, scores=()) for each in choice.candidates)
        same = choice.model_copy(update={"candidates": bare}) == self.choice(choice.place, {}, {})
        first = record.request.model_copy(update={"seed": self.plan.request.seed})
        return choice.place if same and first == self.plan.request else None


def _finite(score: Score) -> tuple[float | None, ...]:
    """JSON has no other numbers."""
    return tuple(number if math.isfinite(number) else None for number in score)
