"""Connected regions against a flood fill."""

from __future__ import annotations

import numpy as np
import pytest

from sanakit.worlds.reading.components import Component, PixelBox, find_components


def flood_fill(mask: np.ndarray) -> set[Component]:
    left = {tuple(place) for place in np.argwhere(mask).tolist()}
    components = set()
    while left:
        stack, region = [left.pop()], []
        while stack:
            row, column = stack.pop()
            region.append((row, column))
            near = {(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            stack += near
        rows, columns = [r for r, _ in region], [c for _, c in region]
        box = PixelBox(min(columns), min(rows), max(columns) + 1, max(rows) + 1)
        components.add(Component(box, len(region)))
    return components


@pytest.mark.parametrize("share", [0.05, 0.3, 0.45, 0.6, 1.0])
def test_random_masks(share: float) -> None:
    mask = np.random.default_rng(0).random((31, 37)) < share
    found = find_components(mask)
    assert set(found) == flood_fill(mask)
    assert sum(component.area for component in found) == mask.sum()


def test_arms_that_meet_below_are_one_region() -> None:
    mask = np.array([[1, 0, 1, 0, 1], [1, 0, 1, 0, 1], [1, 1, 1, 1, 1]], dtype=bool)
    assert find_components(mask) == [Component(PixelBox(0, 0, 5, 3), 11)]


def test_an_empty_row_parts_regions() -> None:
    mask = np.array([[1, 1], [0, 0], [1, 1]], dtype=bool)
    assert [component.box for component in find_components(mask)] == [PixelBox(0, 0, 2, 1), PixelBox(0, 2, 2, 3)]


def test_nothing_in_an_empty_mask() -> None:
    assert find_components(np.zeros((4, 4), dtype=bool)) == []


def test_boxes_know_their_gap_and_overlap() -> None:
    box = PixelBox(0, 0, 4, 4)
    assert box.gap(PixelBox(7, 2, 9, 3)) == 3
    assert box.overlap(PixelBox(7, 2, 9, 3)) == 0
    assert box.gap(PixelBox(2, 3, 9, 9)) == 0
    assert box.overlap(PixelBox(2, 3, 9, 9)) == 2
