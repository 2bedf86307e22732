"""The Fréchet distance against scipy's matrix root, closed forms and known shifts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg

from sanakit.common.errors import ConfigError, ShapeError
from sanakit.evaluation.metrics.frechet import FeatureGaussian, fit_gaussian, gaussian_distance, gaussian_of, too_few


def frechet_distance(real: np.ndarray, fake: np.ndarray) -> float:
    return gaussian_distance(fit_gaussian(real), fit_gaussian(fake))


def reference(real: np.ndarray, fake: np.ndarray) -> float:
    """The formula as it is usually computed."""
    one, other = np.cov(real, rowvar=False), np.cov(fake, rowvar=False)
    root = linalg.sqrtm(one @ other)
    return float(((real.mean(0) - fake.mean(0)) ** 2).sum() + np.trace(one + other - 2 * root.real))


@pytest.mark.parametrize(("num_real", "num_fake", "num_features"), [(40, 60, 5), (300, 200, 32), (9, 50, 8)])
def test_is_the_formula_with_the_matrix_root(num_real: int, num_fake: int, num_features: int) -> None:
    rng = np.random.default_rng(num_features)
    mixing = rng.normal(size=(num_features, num_features))
    real, fake = rng.normal(size=(num_real, num_features)) @ mixing, rng.normal(size=(num_fake, num_features)) + 0.3
    assert frechet_distance(real, fake) == pytest.approx(reference(real, fake), rel=1e-9)


def test_fewer_samples_than_features() -> None:
    """The matrix root of a product without full rank: scipy's is inexact there, its eigenvalues are not."""
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(7, 20)), rng.normal(size=(9, 20)) * 2
    one, other = np.cov(real, rowvar=False), np.cov(fake, rowvar=False)
    roots = np.sqrt(np.linalg.eigvals(one @ other).astype(complex)).real.sum()
    expected = ((real.mean(0) - fake.mean(0)) ** 2).sum() + np.trace(one + other) - 2 * roots
    assert frechet_distance(real, fake) == pytest.approx(expected, rel=1e-6)


def test_closed_form_of_diagonal_gaussians() -> None:
    one = gaussian_of(np.array([1.0, 0.0, -2.0]), np.diag([4.0, 9.0, 0.0]))
    other = gaussian_of(np.array([0.0, 0.0, 1.0]), np.diag([1.0, 16.0, 25.0]))
    assert gaussian_distance(one, other) == pytest.approx(1 + 9 + (2 - 1) ** 2 + (3 - 4) ** 2 + 5**2)


def test_a_shift_counts_its_square_and_equal_sets_nothing() -> None:
    features = np.random.default_rng(1).normal(size=(50, 12))
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-10)
    assert frechet_distance(features, features + 0.5) == pytest.approx(12 * 0.25)
    assert frechet_distance(features, 3 * features) == pytest.approx(
        4 * (features.mean(0) ** 2).sum() + 4 * np.trace(np.cov(features, rowvar=False))
    )


def test_both_roots_are_of_the_same_covariance() -> None:
    features = np.random.default_rng(2).normal(size=(30, 6))
    fitted, given = fit_gaussian(features), gaussian_of(features.mean(0), np.cov(features, rowvar=False))
    for gaussian in (fitted, given):
        assert isinstance(gaussian, FeatureGaussian)
        np.testing.assert_allclose(gaussian.root.T @ gaussian.root, np.cov(features, rowvar=False), atol=1e-12)


def test_too_few_samples_are_said() -> None:
    (warning,) = too_few(10, 20)
    assert "10 pictures are fewer than the 20 features" in warning
    assert too_few(20, 20) == ()
    with pytest.raises(ConfigError, match="at least 2"):
        fit_gaussian(np.zeros((1, 3)))
    with pytest.raises(ConfigError, match="at least 2"):
        frechet_distance(np.zeros(4), np.zeros(4))
    with pytest.raises(ConfigError, match="not finite"):
        fit_gaussian(np.full((3, 3), np.nan))
    with pytest.raises(ShapeError, match="one extractor"):
        frechet_distance(np.eye(5), np.eye(6))
