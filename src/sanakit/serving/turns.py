"""Whose step is next: the most urgent picture's, and among those, sizes have the same time."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Place:
    size: Hashable
    priority: int


class Turns:
    """Pictures by key. Small ones do not wait for the steps of a large one more than once in a while, and it does not
    starve for them: the size that has had the least time is next, and within it the picture that has waited longest."""

    def __init__(self) -> None:
        self._places: dict[str, _Place] = {}  # in the order in which they had their last turn
        self._had: dict[Hashable, float] = {}

    def join(self, key: str, size: Hashable, priority: int = 0) -> None:
        """A size that is new begins with as much time as the others had, not with a debt of theirs."""
        self._had.setdefault(size, min(self._had.values(), default=0.0))
        self._places[key] = _Place(size, priority)

    def leave(self, key: str) -> None:
        """One that is not here is no error."""
        place = self._places.pop(key, None)
        if place is not None and all(other.size != place.size for other in self._places.values()):
            del self._had[place.size]

    def has(self, key: str) -> bool:
        """Whether it takes part."""
        return key in self._places

    def first(self) -> str:
        """Who is next, of one or more."""
        return min(self._places, key=lambda key: (-self._places[key].priority, self._had[self._places[key].size]))

    def took(self, key: str, seconds: float) -> None:
        """A step for ``key``, and those of its size that went along, took so long."""
        if (place := self._places.pop(key, None)) is not None:
            self._places[key] = place
            self._had[place.size] += seconds
