"""Boxes in which an object may be: more than needed, for the matching to choose from."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sanakit.worlds.reading.components import PixelBox, find_components

Floats = NDArray[np.float32]

_THRESHOLDS = (20.0, 40.0, 80.0)  # of the distance from the background; high ones part neighbours that blur joined
_MIN_AREA = 30  # pixels of a region
_MIN_SIDE = 6
_MAX_GAP = 6  # pixels between regions that may belong to one object
_VALLEY = 0.5  # a box is cut where its profile falls below this share of the profile's median
_SAME = 2  # boxes whose edges all differ by no more pixels than this are one


def propose_boxes(distance: Floats, noise: float) -> list[PixelBox]:
    """Boxes around the regions of ``(H, W)`` distances from the background, around neighbours, and around parts.

    ``noise`` is the distance that background pixels have of their own.
    """
    boxes: list[PixelBox] = []
    for threshold in _THRESHOLDS:
        mask = distance > max(threshold, 3.0 * noise)
        regions = [c.box for c in find_components(mask) if c.area >= _MIN_AREA]
        unions = [a.union(b) for a, b in combinations(regions, 2) if a.gap(b) <= _MAX_GAP]
        for box in (*regions, *unions, *(part for region in regions for part in _parts(mask, region))):
            if min(box.width, box.height) >= _MIN_SIDE and not any(_same(box, known) for known in boxes):
                boxes.append(box)
    return boxes


def _parts(mask: NDArray[np.bool_], box: PixelBox) -> list[PixelBox]:
    """Both sides of the thinnest place in the middle of the box, across and down."""
    inside = mask[box.top : box.bottom, box.left : box.right]
    parts = []
    for axis in (0, 1):
        profile = inside.sum(axis)
        first, last = len(profile) * 3 // 10, len(profile) * 7 // 10
        if last <= first:
            continue
        cut = first + int(np.argmin(profile[first:last]))
        if profile[cut] < _VALLEY * float(np.median(profile)):
            parts += _cut(mask, box, cut, across=axis == 0)
    return parts


def _cut(mask: NDArray[np.bool_], box: PixelBox, cut: int, *, across: bool) -> list[PixelBox]:
    if across:
        halves = (box._replace(right=box.left + cut), box._replace(left=box.left + cut))
    else:
        halves = (box._replace(bottom=box.top + cut), box._replace(top=box.top + cut))
    return [tight for half in halves if (tight := _tight(mask, half)) is not None]


def _tight(mask: NDArray[np.bool_], box: PixelBox) -> PixelBox | None:
    found = Image.fromarray(mask[box.top : box.bottom, box.left : box.right]).getbbox()
    if found is None:
        return None
    left, top, right, bottom = found
    return PixelBox(box.left + left, box.top + top, box.left + right, box.top + bottom)


def _same(one: PixelBox, other: PixelBox) -> bool:
    return all(abs(a - b) <= _SAME for a, b in zip(one, other, strict=True))
