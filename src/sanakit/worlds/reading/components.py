"""Connected regions of a mask, by the runs of its rows."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class PixelBox(NamedTuple):
    """A rectangle in whole pixels; ``right`` and ``bottom`` are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def area(self) -> int:
        return self.width * self.height

    def union(self, other: PixelBox) -> PixelBox:
        return PixelBox(*map(min, self[:2], other[:2]), *map(max, self[2:], other[2:]))

    def overlap(self, other: PixelBox) -> int:
        """Pixels that both cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(width, 0) * max(height, 0)

    def gap(self, other: PixelBox) -> int:
        """Pixels between them along the axis that parts them more; 0 when they touch or overlap."""
        across = max(self.left, other.left) - min(self.right, other.right)
        down = max(self.top, other.top) - min(self.bottom, other.bottom)
        return max(across, down, 0)


class Component(NamedTuple):
    box: PixelBox
    area: int  # pixels of the mask, holes left out


def find_components(mask: NDArray[np.bool_]) -> list[Component]:
    """The regions of ``(H, W)`` whose pixels touch at an edge or a corner, in reading order of their first run."""
    runs = _runs(mask)
    parents = list(range(len(runs)))
    by_row: dict[int, list[int]] = defaultdict(list)
    for index, (row, start, stop) in enumerate(runs):
        for other in by_row[row - 1]:
            if runs[other][1] <= stop and start <= runs[other][2]:
                first, second = sorted((_root(parents, other), _root(parents, index)))
                parents[second] = first
        by_row[row].append(index)
    regions: dict[int, Component] = {}
    for index, (row, start, stop) in enumerate(runs):
        part = Component(PixelBox(start, row, stop, row + 1), stop - start)
        root = _root(parents, index)
        known = regions.get(root)
        regions[root] = part if known is None else Component(known.box.union(part.box), known.area + part.area)
    return list(regions.values())


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """(row, first column, column after the last) of every stretch of True, row by row."""
    steps = np.diff(mask.astype(np.int8), axis=1, prepend=0, append=0)
    rows, starts = np.nonzero(steps == 1)
    _, stops = np.nonzero(steps == -1)
    return list(zip(rows.tolist(), starts.tolist(), stops.tolist(), strict=True))


def _root(parents: list[int], index: int) -> int:
    while parents[index] != index:
        parents[index] = parents[parents[index]]
        index = parents[index]
    return index
