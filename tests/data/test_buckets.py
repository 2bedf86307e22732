"""Buckets: published tables, scaled ones, and which resolution a picture goes to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanakit.common.aspect_ratio import BASE_SIZES, aspect_ratio_bins, nearest_bin
from sanakit.common.errors import RequestError
from sanakit.data.buckets import assign_bins, training_bins

SIDES = st.integers(1, 5000)


@pytest.mark.parametrize("resolution", BASE_SIZES)
def test_published_tables_are_used_as_they_are(resolution: int) -> None:
    bins = training_bins(resolution, multiple=16)
    expected = aspect_ratio_bins(resolution, training=True)
    assert dict(zip(bins.ratios.tolist(), map(tuple, bins.sizes.tolist()), strict=True)) == dict(expected)
    assert len(bins.ratios) == 40


@given(st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=30))
def test_the_nearest_bin_is_the_one_that_a_search_through_all_finds(sizes: list[tuple[int, int]]) -> None:
    found = assign_bins(np.array(sizes), [512])
    assert [tuple(size) for size in found.tolist()] == [nearest_bin(h, w, 512, training=True) for h, w in sizes]


@given(st.sampled_from([1, 8, 16, 32, 64]), st.integers(1, 40))
def test_every_resolution_has_bins_of_about_its_area(multiple: int, steps: int) -> None:
    resolution = multiple * steps
    bins = training_bins(resolution, multiple=multiple)
    assert (bins.sizes % multiple == 0).all()
    assert (np.diff(bins.ratios) > 0).all()
    assert [resolution, resolution] in bins.sizes.tolist()
    if steps >= 8:  # coarser ones cannot keep the area
        areas = bins.sizes.prod(axis=1) / resolution**2
        assert areas.min() > 0.75
        assert areas.max() < 1.3


def test_sides_are_rounded_to_the_compression_where_the_table_does_not_fit_it() -> None:
    sizes = training_bins(256, multiple=32).sizes
    assert (sizes % 32 == 0).all()
    assert [128, 512] in sizes.tolist()
    assert training_bins(128, multiple=8).sizes.tolist()[0] == [64, 256]
    # 832 x 1216 at 128 px is 104 x 152; in multiples of 16 the halves 6.5 and 9.5 go up
    assert [112, 160] in training_bins(128, multiple=16).sizes.tolist()


@given(st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=40))
def test_a_picture_goes_to_the_largest_resolution_that_does_not_enlarge_it(sizes: list[tuple[int, int]]) -> None:
    resolutions = (256, 512, 1024)
    found = assign_bins(np.array(sizes), (1024, 256, 512), multiple=16)
    for (height, width), bin_size in zip(sizes, found.tolist(), strict=True):
        bins = [nearest_bin(height, width, resolution, training=True) for resolution in resolutions]
        fitting = [(h, w) for h, w in bins if h <= height and w <= width]
        assert tuple(bin_size) == (fitting[-1] if fitting else bins[0])


def test_a_picture_of_exactly_the_size_of_a_bin_is_not_enlarged_by_it() -> None:
    sizes = [(512, 512), (511, 512), (512, 511), (513, 513), (256, 256), (1, 1)]
    assert assign_bins(sizes, [256, 512]).tolist() == [
        [512, 512],
        [256, 256],
        [256, 256],
        [512, 512],
        [256, 256],
        [256, 256],
    ]
    flat = training_bins(512).sizes[0]
    assert assign_bins([tuple(flat)], [256, 512]).tolist() == [flat.tolist()]


def test_what_cannot_be_sorted_is_refused() -> None:
    with pytest.raises(RequestError, match="multiples of 32"):
        training_bins(100)
    with pytest.raises(RequestError, match="no resolution"):
        assign_bins(np.array([[64, 64]]), [])
    with pytest.raises(RequestError, match="picture 1 of the data has a size of 0 x 9"):
        assign_bins(np.array([[64, 64], [0, 9]]), [64])


def test_the_nearest_possible_resolution_is_named() -> None:
    with pytest.raises(RequestError, match=r"a resolution of 100 px .* multiples of 32 px; .* such as 96$"):
        assign_bins([(64, 64)], [100])
    with pytest.raises(RequestError, match=r"such as 8$"):
        training_bins(0, multiple=8)
