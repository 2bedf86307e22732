"""What a reader sees in a picture, and what a reader is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sanakit.worlds.scenes.description import Box


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadObject:
    """One object: ``name`` None is something that is like nothing known, ``colour`` None is no colour in particular.

    ``box`` is around the whole of it, also where something stands before it. ``score`` in [0, 1] is how sure it is.
    """

    name: str | None
    colour: str | None
    box: Box
    score: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadScene:
    """What a picture shows; the objects that are surest come first.

    ``ground`` is named as in `Ground`: a colour word, two with a space between, or a drawn ground. ``place`` is that of
    a bank. At most one of them is there, and neither where what is behind the objects is like nothing known.
    """

    objects: tuple[ReadObject, ...]
    ground: str | None = None
    place: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Reader(Protocol):
    """Reads pictures of the worlds."""

    def read(self, picture: NDArray[np.uint8]) -> ReadScene:
        """What ``(H, W, 3)`` uint8 RGB shows."""
        ...
