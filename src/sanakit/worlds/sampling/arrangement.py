"""Where the objects of a scene stand: tidy arrangements that never overlap, with a little jitter."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.random import Generator

from sanakit.worlds.scenes.description import Box

Point = tuple[float, float]

# For each number: (share, side of the square cell around each centre, centres). Cells never overlap.
_ARRANGEMENTS: Mapping[int, tuple[tuple[float, float, tuple[Point, ...]], ...]] = {
    2: (
        (0.60, 0.50, ((0.25, 0.50), (0.75, 0.50))),  # a row
        (0.15, 0.50, ((0.50, 0.25), (0.50, 0.75))),  # a column
        (0.25, 0.50, ((0.25, 0.25), (0.75, 0.75))),  # a diagonal
    ),
    3: (
        (0.65, 0.50, ((0.50, 0.25), (0.25, 0.75), (0.75, 0.75))),  # a triangle
        (0.15, 0.50, ((0.25, 0.25), (0.75, 0.25), (0.50, 0.75))),  # a triangle on its tip
        (0.20, 1 / 3, ((1 / 6, 0.50), (1 / 2, 0.50), (5 / 6, 0.50))),  # a row
    ),
    4: (
        (0.90, 0.50, ((0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75))),  # a grid
        (0.10, 1 / 3, ((0.50, 1 / 6), (1 / 6, 0.50), (5 / 6, 0.50), (0.50, 5 / 6))),  # a diamond
    ),
}


def arrange(num_objects: int, rng: Generator) -> tuple[tuple[Point, ...], float]:
    """Centres for objects whose longer side is the returned scale, one scale for all."""
    arrangements = _ARRANGEMENTS[num_objects]
    which = int(np.searchsorted(np.cumsum([share for share, _, _ in arrangements]), rng.random()))
    _, cell, places = arrangements[min(which, len(arrangements) - 1)]
    scale = cell * rng.uniform(0.76, 0.92)
    slack = 0.4 * (cell - scale)  # below one half of it, so that neighbours keep a gap
    return tuple((x + rng.uniform(-slack, slack), y + rng.uniform(-slack, slack)) for x, y in places), scale


def fit(aspect: float, centre: Point, scale: float) -> Box:
    """The box of an object (aspect = width / height) around ``centre`` with ``scale`` as its longer side."""
    half_width = scale / 2 * min(aspect, 1.0)
    half_height = scale / 2 * min(1 / aspect, 1.0)
    return centre[0] - half_width, centre[1] - half_height, centre[0] + half_width, centre[1] + half_height
