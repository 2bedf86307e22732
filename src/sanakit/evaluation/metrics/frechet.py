"""The Fréchet distance between two sets of features, FID when they come from Inception-v3; in float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sanakit.common.errors import ConfigError, ShapeError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FeatureGaussian:
    """The mean ``(F,)`` of features, and a root ``(R, F)`` of their covariance: ``root.T @ root`` is the covariance."""

    mean: Floats
    root: Floats

    @property
    def trace(self) -> float:
        """Of the covariance."""
        return float((self.root**2).sum())


def fit_gaussian(features: NDArray[np.floating]) -> FeatureGaussian:
    """Mean and covariance (divided by N - 1) of features ``(N, F)``.

    The root is the triangle of a QR decomposition, or the centred features themselves where there are fewer of them
    than channels: a covariance without full rank needs no special care.

    Raises:
        ConfigError: fewer than two samples, or one that is not finite.
    """
    features = np.asarray(features, dtype=np.float64)
    if features.ndim != 2 or len(features) < 2:
        raise ConfigError(f"features of shape {features.shape} have no covariance; at least 2 pictures are needed")
    if not np.isfinite(features).all():
        raise ConfigError("some features are not finite numbers, so they have no covariance; look at the pictures")
    mean = features.mean(0)
    centred = (features - mean) / np.sqrt(len(features) - 1)
    root: Floats = centred if len(features) <= features.shape[1] else np.asarray(np.linalg.qr(centred, mode="r"))
    return FeatureGaussian(mean, root)


def gaussian_of(mean: NDArray[np.floating], covariance: NDArray[np.floating]) -> FeatureGaussian:
    """From published statistics: mean ``(F,)`` and covariance ``(F, F)``, rounded ones too."""
    values, vectors = np.linalg.eigh(np.asarray(covariance, dtype=np.float64))
    return FeatureGaussian(np.asarray(mean, dtype=np.float64), np.sqrt(values.clip(min=0))[:, None] * vectors.T)


def gaussian_distance(one: FeatureGaussian, other: FeatureGaussian) -> float:
    """Squared 2-Wasserstein distance ``|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))`` of two Gaussians.

    With roots ``C = R^T R`` the trace of the matrix root is the sum of the singular values of ``R1 R2^T``: its squared
    singular values are the eigenvalues of ``C1 C2``. No iteration, no imaginary part, nothing added to a diagonal.

    Source: Dowson and Landau, The Fréchet distance between multivariate normal distributions, 1982; as a score of
    pictures, Heusel et al., arXiv:1706.08500.
    """
    if one.mean.shape != other.mean.shape:
        sizes = f"{one.mean.size} and {other.mean.size}"
        raise ShapeError(f"{sizes} features cannot be compared; use one extractor for both sets")
    offset = float(((one.mean - other.mean) ** 2).sum())
    common = float(np.linalg.svd(one.root @ other.root.T, compute_uv=False).sum())
    return max(offset + one.trace + other.trace - 2 * common, 0.0)


def too_few(num_samples: int, num_features: int) -> tuple[str, ...]:
    """A warning where samples are fewer than features.

    A distance of fitted Gaussians is too large by about ``c / N``; then even the covariances have not full rank, and
    the number says more about N than about the pictures.
    """
    if num_samples >= num_features:
        return ()
    return (
        f"{num_samples} pictures are fewer than the {num_features} features, so this Fréchet distance is far too large "
        f"and only comparable with one of as many pictures; KID has no such bias",
    )
