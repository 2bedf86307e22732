"""A picture at the size of its bin, against the rule in its own words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sanakit.common.aspect_ratio import aspect_ratio_bins
from sanakit.data.fitting import covering_size, fit_to_bin, resize_rule

SIDE = st.integers(1, 3000)


@given(SIDE, SIDE, SIDE, SIDE)
def test_the_picture_just_covers_the_bin(width: int, height: int, bin_height: int, bin_width: int) -> None:
    found = covering_size((width, height), bin_height, bin_width)
    if bin_height / height > bin_width / width:
        assert found[1] == bin_height
        assert abs(found[0] - width * bin_height / height) < 1
    else:
        assert found[0] == bin_width
        assert abs(found[1] - height * bin_width / width) < 1
    assert found[0] >= bin_width
    assert found[1] >= bin_height


def test_the_centre_is_what_stays() -> None:
    stripes = np.zeros((10, 30, 3), np.uint8)
    stripes[:, 10:20, 0] = 255
    np.testing.assert_array_equal(fit_to_bin(Image.fromarray(stripes), 10, 10), stripes[:, 10:20])
    np.testing.assert_array_equal(fit_to_bin(Image.fromarray(stripes.swapaxes(0, 1)), 10, 12)[0, 0], [255, 0, 0])


def test_it_is_pillow_s_bicubic() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 90, 3), dtype=np.uint8))
    expected = np.asarray(image.resize((72, 32), Image.Resampling.BICUBIC))[:, 4:68]
    np.testing.assert_array_equal(fit_to_bin(image, 32, 64), expected)


@pytest.mark.parametrize(("size", "rule"), [(512, "bicubic"), (1024, "bicubic"), (2048, "lanczos"), (4096, "bicubic")])
def test_lanczos_is_for_the_bins_of_2048(size: int, rule: str) -> None:
    assert {resize_rule(*shape) for shape in aspect_ratio_bins(size, training=True).values()} == {rule}


def test_where_lanczos_begins_and_ends() -> None:
    found = [resize_rule(side, side) for side in (1600, 1601, 2880, 3399, 3400)]
    assert found == ["bicubic", "lanczos", "lanczos", "lanczos", "bicubic"]
