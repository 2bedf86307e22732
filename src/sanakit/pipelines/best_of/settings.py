"""How many candidates, how many of them stay, and when the worse ones are dropped."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from sanakit.common.errors import RequestError

Mode = Literal["topk", "bracket"]
MAX_CANDIDATES = 4096
DROPPING = (0.2, 0.4)  # after these shares of the steps, where nothing else is said


@dataclass(frozen=True, kw_only=True, slots=True)
class BestOf:
    """``num`` candidates of a prompt, with the seeds that as many pictures of it would have, of which ``keep`` stay.

    With ``topk`` the best stay, with ``bracket`` the best of each of ``keep`` groups of neighbours. ``dropping`` are
    shares of the steps, rising between 0 and 1, after which the worse half is dropped. ``weights`` are those of the
    judges in their order, all alike if there are none.

    Raises:
        RequestError: numbers that do not go together.
    """

    num: int
    keep: int = 1
    mode: Mode = "topk"
    dropping: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not _is_whole(self.num) or not 1 <= self.num <= MAX_CANDIDATES:
            raise RequestError(f"best_of={self.num!r} is not usable; give a whole number from 1 to {MAX_CANDIDATES}")
        if not _is_whole(self.keep) or not 1 <= self.keep <= self.num:
            raise RequestError(f"keep={self.keep!r} is not usable; of {self.num} candidates 1 to {self.num} can stay")
        if self.mode not in get_args(Mode):
            raise RequestError(f"mode={self.mode!r} is not offered; it is topk or bracket")
        if self.mode == "bracket" and self.num % self.keep:
            raise RequestError(
                f"{self.num} candidates do not make {self.keep} brackets of one size; choose a best_of that "
                f"keep={self.keep} divides, or mode topk"
            )
        if list(self.dropping) != sorted({share for share in self.dropping if 0 < share < 1}):
            raise RequestError(
                f"dropping={self.dropping} is not usable; give rising shares of the steps between 0 and 1"
            )
        if not all(math.isfinite(weight) and weight > 0 for weight in self.weights):
            raise RequestError(f"weights={self.weights} are not usable; the weight of a judge is a number above 0")

    @property
    def groups(self) -> list[range]:
        """Candidates among which ``stay`` win."""
        size = self.num if self.mode == "topk" else self.num // self.keep
        return [range(start, start + size) for start in range(0, self.num, size)]

    @property
    def stay(self) -> int:
        """Winners of each group."""
        return self.keep if self.mode == "topk" else 1

    def stages(self, steps: int) -> list[int]:
        """Numbers of steps after which candidates are dropped, of so many steps that there are; those that would drop
        nobody are left out."""
        stages, there = list[int](), len(self.groups[0])
        for step in sorted({round(share * steps) for share in self.dropping} - {0, steps}):
            if there > self.stay:
                stages.append(step)
                there = max(self.stay, -(-there // 2))
        return stages


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
