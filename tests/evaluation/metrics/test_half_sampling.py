"""Intervals of distances cover what they say, where the naive bootstrap does not; draws have no repeats."""

from __future__ import annotations

import numpy as np
import pytest

from sanakit.common.errors import ConfigError
from sanakit.evaluation.metrics.frechet import fit_gaussian, gaussian_distance, gaussian_of
from sanakit.evaluation.metrics.half_sampling import draw_halves, half_sampled, interval_from_halves
from sanakit.evaluation.metrics.kernel_distance import kernel_distance, weighted_kernel_distances

REPEATS = 80  # of which 95 % is 76 with a standard deviation of 2


def covered(intervals: list[tuple[float, float]], truth: float) -> float:
    return float(np.mean([low <= truth <= high for low, high in intervals]))


def test_frechet_intervals_cover_and_the_naive_bootstrap_does_not() -> None:
    num, num_features = 40, 8
    rng = np.random.default_rng(0)
    scales = np.linspace(0.5, 1.5, num_features)
    truth = gaussian_distance(
        gaussian_of(np.zeros(num_features), np.eye(num_features)),
        gaussian_of(np.full(num_features, 0.3), np.diag(scales**2)),
    )
    found, naive = [], []
    for repeat in range(REPEATS):
        real = rng.normal(size=(num, num_features))
        fake = rng.normal(size=(num, num_features)) * scales + 0.3

        def distance(one: np.ndarray, other: np.ndarray, real: np.ndarray = real, fake: np.ndarray = fake) -> float:
            return gaussian_distance(fit_gaussian(real[one]), fit_gaussian(fake[other]))

        found.append(half_sampled(distance, (num, num), num_halves=30, seed=repeat, lowest=0.0))
        again = [distance(rng.integers(num, size=num), rng.integers(num, size=num)) for _ in range(30)]
        naive.append((np.quantile(again, 0.025), np.quantile(again, 0.975)))
    expectation = np.mean([each.value for each in found])
    assert expectation > 1.5 * truth  # so few samples: the bias is what makes this hard
    assert covered([(each.low, each.high) for each in found], float(expectation)) >= 0.90
    assert covered([(each.corrected_low, each.corrected_high) for each in found], truth) >= 0.90
    assert covered(naive, truth) < 0.1
    assert np.mean([each.corrected for each in found]) == pytest.approx(truth, rel=0.1)
    width, spread = np.mean([each.high - each.low for each in found]), np.std([each.value for each in found])
    assert width / (2 * 1.96 * spread) < 1.6  # sure, but not by saying nothing


def test_kernel_intervals_cover_the_expectation() -> None:
    num, num_features, shift = 40, 4, 0.8
    rng = np.random.default_rng(1)

    def draw(size: int) -> tuple[np.ndarray, np.ndarray]:
        return rng.normal(size=(size, num_features)), rng.normal(size=(size, num_features)) + shift

    truth = float(np.mean([kernel_distance(*draw(400)) for _ in range(60)]))
    intervals = []
    for repeat in range(REPEATS):
        real, fake = draw(num)
        chosen = np.zeros((2, 60, num))
        for row, halves in enumerate(draw_halves(num, num, num_halves=60, seed=repeat)):
            chosen[0, row, halves[0]] = chosen[1, row, halves[1]] = 1
        replicates = weighted_kernel_distances(real, fake, *chosen)
        found = interval_from_halves(kernel_distance(real, fake), replicates)
        intervals.append((found.low, found.high))
    assert covered(intervals, truth) >= 0.88  # skewed at 40 samples: the upper end is reached a little too seldom


def test_the_deviation_of_a_mean_is_the_textbook_one() -> None:
    values = np.random.default_rng(2).normal(size=200)
    found = half_sampled(lambda a, b: values[a].mean() - 0 * len(b), (200, 200), num_halves=4000, seed=0)
    expected = 1.96 * values.std(ddof=1) / np.sqrt(200)
    assert (found.high - found.low) / 2 == pytest.approx(expected, rel=0.05)
    assert found.value == values.mean()


def test_paired_halves_are_the_same_pictures() -> None:
    """An autoencoder that changes little: pairs know that, independent halves see two different sets."""
    assert all(np.array_equal(real, fake) for real, fake in draw_halves(9, 9, num_halves=5, seed=0, paired=True))
    for real, fake in draw_halves(9, 30, num_halves=5, seed=0):
        assert len(set(real)) == len(real) == 4
        assert len(set(fake)) == len(fake) == 15
    with pytest.raises(ConfigError, match="no pairs"):
        draw_halves(8, 9, num_halves=5, seed=0, paired=True)


def test_one_seed_gives_one_interval_and_bounds_hold() -> None:
    values = np.random.default_rng(3).normal(size=50)
    one, same, other = (
        half_sampled(lambda a, b: values[a].mean() + 0.01 * b.mean(), (50, 20), seed=seed, lowest=0.0)
        for seed in (4, 4, 5)
    )
    assert one == same != other
    assert min(one.low, one.corrected_low) >= 0
    with pytest.raises(ConfigError, match="3 and 9 samples"):
        draw_halves(3, 9, num_halves=10, seed=0)


def test_the_interval_is_of_95_percent_and_its_ends_have_their_bound() -> None:
    replicates = np.array([1.0, 3.0, 2.0, 2.0])  # deviation sqrt(2/3), mean 2
    found = interval_from_halves(1.5, replicates, lowest=-0.4, extra_variance=1 / 3)
    assert (found.low, found.high) == pytest.approx((-0.4, 1.5 + 1.959964))
    assert found.corrected == pytest.approx(1.0)
    assert (found.corrected_low, found.corrected_high) == pytest.approx((-0.4, 1.0 + 1.959964))
    assert found.num_halves == 4


def test_the_least_that_can_be_halved() -> None:
    told = []
    found = half_sampled(
        lambda a, b: float(len(a) + 10 * len(b)), (4, 5), seed=0, on_progress=lambda *a: told.append(a)
    )
    assert (found.value, found.low, found.num_halves) == (54.0, 54.0, 100)
    assert found.corrected == 54.0 - (22.0 - 54.0)
    assert (told[0], told[-1]) == ((1, 100, "measuring halves"), (100, 100, "measuring halves"))
    assert len(draw_halves(4, 4, num_halves=2, seed=0)) == 2
    with pytest.raises(ConfigError, match="1 halves"):
        draw_halves(4, 4, num_halves=1, seed=0)


def test_halves_are_those_of_published_intervals() -> None:
    rng = np.random.default_rng((3, 18975))
    expected = sorted(rng.permutation(10)[:5]), sorted(rng.permutation(8)[:4])
    ((real, fake),) = draw_halves(10, 8, num_halves=2, seed=3)[:1]
    assert (real.tolist(), fake.tolist()) == expected
