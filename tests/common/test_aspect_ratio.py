"""The published bins, derived from one table."""

from __future__ import annotations

import pytest

from sanakit.common.aspect_ratio import BASE_SIZES, aspect_ratio_bins, nearest_bin
from sanakit.common.errors import RequestError

GRANULARITY = {256: 16, 512: 32, 1024: 64, 2048: 128, 4096: 256}


@pytest.mark.parametrize(
    ("base_size", "training", "count"),
    [(256, False, 33), (512, False, 33), (1024, False, 33), (1024, True, 40), (2048, False, 40), (4096, False, 40)],
)
def test_number_of_bins(base_size: int, training: bool, count: int) -> None:
    assert len(aspect_ratio_bins(base_size, training=training)) == count


@pytest.mark.parametrize("base_size", BASE_SIZES)
def test_bins_keep_the_area_and_the_granularity(base_size: int) -> None:
    for ratio, (height, width) in aspect_ratio_bins(base_size, training=True).items():
        assert height % GRANULARITY[base_size] == width % GRANULARITY[base_size] == 0
        assert 0.85 < height * width / base_size**2 < 1.05
        assert abs(height / width - ratio) < 0.01


@pytest.mark.parametrize(
    ("size", "base_size", "expected"),
    [
        ((1024, 1024), 1024, (1024, 1024)),
        ((720, 1280), 1024, (768, 1344)),
        ((1080, 1920), 2048, (1536, 2688)),
        ((1500, 1000), 512, (608, 416)),
        ((100, 5000), 1024, (512, 2048)),
        ((96, 128), 4096, (3328, 4608)),
    ],
)
def test_nearest_bin(size: tuple[int, int], base_size: int, expected: tuple[int, int]) -> None:
    assert nearest_bin(*size, base_size) == expected


def test_a_model_of_another_size_has_no_bins() -> None:
    with pytest.raises(RequestError, match="128 px"):
        aspect_ratio_bins(128)
