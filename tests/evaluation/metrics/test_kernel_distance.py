"""The kernel distance against a double loop, its expectation, and the published subsets."""

from __future__ import annotations

import numpy as np
import pytest

from sanakit.common.errors import ConfigError, ShapeError
from sanakit.evaluation.metrics import kernel_distance as module
from sanakit.evaluation.metrics.kernel_distance import (
    kernel_distance,
    subset_kernel_distance,
    weighted_kernel_distances,
)


def reference(real: np.ndarray, fake: np.ndarray) -> float:
    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((np.dot(x, y) / len(x) + 1) ** 3)

    n, m = len(real), len(fake)
    within = sum(kernel(real[i], real[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    other = sum(kernel(fake[i], fake[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within + other - 2 * sum(kernel(x, y) for x in real for y in fake) / (n * m)


@pytest.mark.parametrize(("num_real", "num_fake"), [(2, 2), (13, 9)])
@pytest.mark.parametrize("rows", [4, 1024])
def test_is_the_double_sum(num_real: int, num_fake: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROWS", rows)
    rng = np.random.default_rng(num_real)
    real, fake = rng.normal(size=(num_real, 5)), rng.normal(size=(num_fake, 5)) + 0.5
    assert kernel_distance(real, fake) == pytest.approx(reference(real, fake), rel=1e-12)


def test_subsets_at_once_are_the_subsets_one_by_one() -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(12, 4)), rng.normal(size=(10, 4)) * 1.5
    chosen_real, chosen_fake = (rng.permuted(np.tile(np.arange(n) < 5, (6, 1)), axis=1) for n in (12, 10))
    together = weighted_kernel_distances(real, fake, chosen_real.astype(float), chosen_fake.astype(float))
    alone = [kernel_distance(real[r], fake[f]) for r, f in zip(chosen_real, chosen_fake, strict=True)]
    np.testing.assert_allclose(together, alone, rtol=1e-10)


def test_expectation_is_the_closed_form_at_any_number_of_samples() -> None:
    """Standard normals a and b + c of F features: E (x.y/F + 1)^3 = 1 + 3 E(x.y)/F + 3 E(x.y)^2/F^2 + E(x.y)^3/F^3."""
    num_features, shift = 4, 0.8
    offset = num_features * shift**2  # |mean|^2 of the shifted side
    none = 1 + 3 * num_features / num_features**2
    second = num_features + 2 * offset + offset**2
    third = offset**3 + 3 * offset * (num_features + 2 * offset) + 6 * offset
    both = 1 + 3 * offset / num_features + 3 * second / num_features**2 + third / num_features**3
    across = 1 + 3 * (num_features + offset) / num_features**2
    rng = np.random.default_rng(0)
    for num in (4, 16):
        found = [
            kernel_distance(rng.normal(size=(num, num_features)), rng.normal(size=(num, num_features)) + shift)
            for _ in range(1500)
        ]
        assert np.mean(found) == pytest.approx(none + both - 2 * across, abs=4 * np.std(found) / np.sqrt(1500))


def test_published_subsets() -> None:
    rng = np.random.default_rng(3)
    real, fake = rng.normal(size=(60, 6)), rng.normal(size=(80, 6)) + 0.4
    found = subset_kernel_distance(real, fake, num_subsets=200, subset_size=30, seed=5)
    assert found == subset_kernel_distance(real, fake, num_subsets=200, subset_size=30, seed=5)
    assert found.mean == pytest.approx(kernel_distance(real, fake), abs=5 * found.deviation / np.sqrt(200))
    whole = subset_kernel_distance(real, fake[:60], num_subsets=2, subset_size=60, seed=0)
    assert whole.mean == pytest.approx(kernel_distance(real, fake[:60]))
    with pytest.raises(ConfigError, match="70 cannot be drawn from 60 and 80"):
        subset_kernel_distance(real, fake, num_subsets=2, subset_size=70, seed=0)


def test_bad_features_are_refused() -> None:
    with pytest.raises(ShapeError):
        kernel_distance(np.zeros((3, 2)), np.zeros((3, 4)))
    with pytest.raises(ConfigError, match="at least 2"):
        kernel_distance(np.zeros((1, 2)), np.zeros((3, 2)))
    with pytest.raises(ConfigError, match="finite"):
        kernel_distance(np.full((3, 2), np.inf), np.zeros((3, 2)))


def test_the_least_subsets_and_their_seed() -> None:
    rng = np.random.default_rng(1)
    real, fake = rng.normal(size=(3, 2)), rng.normal(size=(2, 2))
    draws = np.random.default_rng((9, 20917))
    chosen = [(draws.choice(3, 2, replace=False), draws.choice(2, 2, replace=False)) for _ in range(3)]
    expected = [kernel_distance(real[one], fake[other]) for one, other in chosen]
    found = subset_kernel_distance(real, fake, num_subsets=3, subset_size=2, seed=9)
    assert found == (pytest.approx(np.mean(expected)), pytest.approx(np.std(expected)))
    assert subset_kernel_distance(real, fake, num_subsets=1, subset_size=2, seed=9).deviation == 0
    for num_subsets, subset_size in ((0, 2), (1, 1), (1, 3)):
        with pytest.raises(ConfigError, match="at least 2 and at most all"):
            subset_kernel_distance(real, fake, num_subsets=num_subsets, subset_size=subset_size, seed=0)
    for bad in (np.zeros(2), np.zeros((2, 2, 2))):
        with pytest.raises(ShapeError):
            kernel_distance(np.zeros((3, 2)), bad)
        with pytest.raises(ShapeError):
            kernel_distance(bad, np.zeros((3, 2)))
    with pytest.raises(ConfigError, match="finite"):
        kernel_distance(np.zeros((3, 2)), np.full((3, 2), np.nan))
