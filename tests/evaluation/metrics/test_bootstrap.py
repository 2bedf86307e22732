"""The interval covers the true mean as often as it says."""

from __future__ import annotations

import numpy as np
import pytest

from sanakit.common.errors import ConfigError
from sanakit.evaluation.metrics.bootstrap import estimate, estimate_ratio


@pytest.mark.parametrize("truth", [0.5, 0.8])
def test_95_percent_intervals_cover_the_truth(truth: float) -> None:
    rng = np.random.default_rng(0)
    intervals = [estimate(rng.random(100) < truth, seed=repeat) for repeat in range(200)]
    covered = np.mean([interval.low <= truth <= interval.high for interval in intervals])
    assert 0.90 <= covered <= 0.99  # 200 repeats: the standard error of 0.95 is 0.015


def test_width_falls_with_the_root_of_the_number_of_samples() -> None:
    rng = np.random.default_rng(0)
    few, many = (estimate(rng.normal(size=num), seed=0) for num in (100, 1600))
    assert (few.high - few.low) / (many.high - many.low) == pytest.approx(4, rel=0.2)


def test_level_sets_the_width() -> None:
    samples = np.random.default_rng(0).normal(size=200)
    wide, narrow = estimate(samples, seed=0), estimate(samples, seed=0, level=0.5)
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high


def test_one_seed_gives_one_interval() -> None:
    samples = [True, False, True, True, False]
    assert estimate(samples, seed=1) == estimate(samples, seed=1)
    assert estimate(samples, seed=1).mean == 0.6
    assert estimate(samples, seed=1).num_samples == 5


def test_no_samples_are_refused() -> None:
    with pytest.raises(ConfigError, match="0 samples"):
        estimate([], seed=0)


def test_the_ends_are_the_quantiles_of_the_means_drawn_again() -> None:
    """Of the normal distribution of a mean: 1.96 standard errors to both sides; a ratio by 1 is the mean."""
    samples = np.random.default_rng(0).normal(size=400)
    found, ratio = estimate(samples, seed=0), estimate_ratio(samples + 10, np.full(400, 2.0), seed=0)
    error = samples.std() / 20
    assert (found.mean - found.low, found.high - found.mean) == pytest.approx((1.96 * error, 1.96 * error), rel=0.06)
    middle = ratio.mean - ratio.low, ratio.high - ratio.mean
    assert middle == pytest.approx((0.98 * error, 0.98 * error), rel=0.06)
    assert ratio.num_samples == 400


def test_draws_without_a_base_are_left_out() -> None:
    found = estimate_ratio([1.0, 0.0, 1.0], [1.0, 0.0, 1.0], seed=0)
    assert (found.mean, found.low, found.high) == (1.0, 1.0, 1.0)


def test_the_draws_are_those_of_published_intervals() -> None:
    """Stored reports are compared with new ones: 2000 draws of 95 % from the seed, and pairs that stay pairs."""
    rng = np.random.default_rng(7)
    values = np.array([0.0, 1.0, 1.0, 4.0])
    means = values[rng.integers(4, size=(2000, 4))].mean(1)
    found = estimate(values.tolist(), seed=7)
    assert (found.low, found.high) == tuple(np.quantile(means, [0.025, 0.975]))
    assert estimate_ratio(values.tolist(), [1.0] * 4, seed=7).low == found.low
    with pytest.raises(ConfigError, match="2 values cannot be divided by 3 "):
        estimate_ratio([1.0, 2.0], [1.0, 2.0, 3.0], seed=0)
    with pytest.raises(ConfigError, match="whose mean is 0"):
        estimate_ratio([1.0, 2.0], [0.0, 0.0], seed=0)
