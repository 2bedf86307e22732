"""Which lanes hang: those that owe a word on a picture, and say nothing for far longer than any lane did before."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Lane = TypeVar("Lane")
FAR_LONGER = 10.0  # times the longest silence that ended with a word


@dataclass(slots=True)
class _Debt:
    since: float
    keys: set[str] = field(default_factory=set)


class Silence(Generic[Lane]):
    """A lane owes a word on every picture that it was given, until it is done with it.

    Args:
        least: seconds that a lane may be silent whatever was before; infinite to never call it hung.
    """

    def __init__(self, least: float, clock: Callable[[], float]) -> None:
        self.longest = 0.0  # seconds
        self._least, self._clock = least, clock
        self._debts: dict[Lane, _Debt] = {}

    @property
    def limit(self) -> float:
        """Seconds of silence after which a lane hangs."""
        return max(self._least, FAR_LONGER * self.longest)

    def given(self, lane: Lane, key: str) -> None:
        """A picture went into the lane."""
        self._debts.setdefault(lane, _Debt(self._clock())).keys.add(key)

    def heard(self, lane: Lane, key: str, *, last: bool) -> None:
        """A word on a picture, the last one or not."""
        debt, now = self._debts.get(lane), self._clock()
        if debt is None:
            return
        self.longest, debt.since = max(self.longest, now - debt.since), now
        if last:
            debt.keys.discard(key)
        if not debt.keys:
            del self._debts[lane]

    def ended(self, lane: Lane) -> None:
        """Nothing is to be heard from it any more."""
        self._debts.pop(lane, None)

    def hung(self) -> Iterator[tuple[Lane, float]]:
        """Lanes that hang, and for how many seconds they said nothing."""
        now, limit = self._clock(), self.limit
        for lane, debt in list(self._debts.items()):
            if now - debt.since > limit:
                yield lane, now - debt.since

    @property
    def next_look(self) -> float:
        """When the next lane may hang, on the clock."""
        return min((debt.since for debt in self._debts.values()), default=math.inf) + self.limit
