"""Which background a picture has, and how far each pixel is from it.

Every background of the starter is constant along its rows, but for the stars. So a background is one colour
per row, and a pixel belongs to it when it lies near the mix of the colours of the rows around: an horizon may
then be blurred, or a little too high or too low.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sanakit.worlds.scenes.render import background_image
from sanakit.worlds.scenes.vocabulary import BACKGROUNDS

Floats = NDArray[np.float32]

_RING = 4  # pixels at each border, where there is mostly background
_HORIZON_SLACK = 4  # rows that an horizon may be off, or blurred over
_OUTLIER = 80.0  # of 0..441 in RGB: a border pixel further off is an object, and counts no more than that
_UNKNOWN = 45.0  # mean distance of the border at which none of the backgrounds is there
_MAX_CORRECTION = 45.0


class BackgroundReading(NamedTuple):
    """The nearest background; ``name`` is None when even that one is far from the picture's border."""

    name: str | None
    rows: Floats  # (H, 3) the background's colour in each row, corrected to the picture's own shade
    distance: Floats  # (H, W) of each pixel from the background, 0..441 in RGB
    noise: float  # the median of the distance at the border


def read_background(pixels: Floats) -> BackgroundReading:
    """Name the background of ``(H, W, 3)`` in 0..255, from its border."""
    size = len(pixels)
    ring = _ring(size)
    border, places = pixels[ring], np.nonzero(ring)[0]  # (border, 3), (border,)
    distances = {name: _distance(border, row_colours(name, size), places) for name in BACKGROUNDS}
    errors = {name: float(np.minimum(found, _OUTLIER).mean()) for name, found in distances.items()}
    name = min(errors, key=errors.__getitem__)
    rows = _corrected(border, row_colours(name, size), places)
    distance = _distance(pixels, rows, np.arange(size)[:, None])
    known = errors[name] < _UNKNOWN
    return BackgroundReading(name if known else None, rows, distance, float(np.median(distance[ring])))


@cache
def row_colours(name: str, size: int) -> Floats:
    """``(size, 3)``: the background's colour in each row; the median passes over the stars."""
    return np.median(np.asarray(background_image(name, size), dtype=np.float32), axis=1)


def _ring(size: int) -> NDArray[np.bool_]:
    ring = np.ones((size, size), dtype=bool)
    ring[_RING:-_RING, _RING:-_RING] = False
    return ring


def _distance(pixels: Floats, rows: Floats, places: NDArray[np.intp]) -> Floats:
    """Of pixels ``(..., 3)`` in the rows ``places`` from the nearest mix of the colours a few rows around."""
    above = rows[np.maximum(places - _HORIZON_SLACK, 0)]  # (..., 3)
    span = rows[np.minimum(places + _HORIZON_SLACK, len(rows) - 1)] - above
    offset = pixels - above
    share = (offset * span).sum(-1) / np.maximum((span * span).sum(-1), 1e-6)
    nearest = np.clip(share, 0.0, 1.0)[..., None] * span
    return np.sqrt(((offset - nearest) ** 2).sum(-1))


def _corrected(border: Floats, rows: Floats, places: NDArray[np.intp]) -> Floats:
    """The rows moved to the picture's own shade: a model's white is not always 255."""
    near = _distance(border, rows, places) < _OUTLIER
    corrected = rows.copy()
    for colour in np.unique(rows, axis=0):
        band = (rows == colour).all(-1)  # (H,)
        inside = near & band[places]
        if band.sum() > _HORIZON_SLACK and inside.any():
            shift = np.median(border[inside], axis=0) - colour
            corrected[band] += np.clip(shift, -_MAX_CORRECTION, _MAX_CORRECTION)
    return corrected
