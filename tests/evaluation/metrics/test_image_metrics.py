"""PSNR and SSIM against their definitions, written out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sanakit.common.errors import ShapeError
from sanakit.evaluation.metrics.image_metrics import psnr, ssim


def pictures() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    one = rng.integers(0, 256, (14, 17, 3), dtype=np.uint8)
    other = np.clip(one + rng.normal(0, 25, one.shape), 0, 255).astype(np.uint8)
    return one, other


def naive_ssim(one: np.ndarray, other: np.ndarray) -> float:
    """Equation 13 of Wang et al., window by window."""
    offsets = np.arange(11) - 5
    weights = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    values = []
    for top in range(one.shape[0] - 10):
        for left in range(one.shape[1] - 10):
            for channel in range(3):
                x = one[top : top + 11, left : left + 11, channel].astype(float)
                y = other[top : top + 11, left : left + 11, channel].astype(float)
                mean_x, mean_y = (weights * x).sum(), (weights * y).sum()
                var_x, var_y = (weights * (x - mean_x) ** 2).sum(), (weights * (y - mean_y) ** 2).sum()
                covariance = (weights * (x - mean_x) * (y - mean_y)).sum()
                a, b = (0.01 * 255) ** 2, (0.03 * 255) ** 2
                luma = (2 * mean_x * mean_y + a) / (mean_x**2 + mean_y**2 + a)
                values.append(luma * (2 * covariance + b) / (var_x + var_y + b))
    return float(np.mean(values))


def test_ssim_matches_the_definition() -> None:
    one, other = pictures()
    assert ssim(one, other) == pytest.approx(naive_ssim(one, other), abs=1e-9)
    assert ssim(one, one) == pytest.approx(1.0)


def test_psnr_of_a_known_error() -> None:
    grey = np.full((8, 8, 3), 100, dtype=np.uint8)
    assert psnr(grey + np.uint8(10), grey) == pytest.approx(20 * math.log10(25.5))
    assert psnr(grey, grey) == math.inf


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_pictures_of_two_sizes_are_refused(metric: object) -> None:
    one, other = pictures()
    with pytest.raises(ShapeError, match="cannot be compared"):
        metric(one, other[:-1])  # type: ignore[operator]


def test_ssim_needs_room_for_its_window() -> None:
    with pytest.raises(ShapeError, match="window"):
        ssim(np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8))


def test_a_picture_of_exactly_the_window_has_one_place() -> None:
    one, other = (picture[:11, :11] for picture in pictures())
    assert ssim(one, other) == pytest.approx(naive_ssim(one, other), abs=1e-9)
    for height, width in ((10, 11), (11, 10)):
        with pytest.raises(ShapeError, match="window of 11"):
            ssim(one[:height, :width], other[:height, :width])
