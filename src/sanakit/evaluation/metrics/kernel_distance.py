"""The kernel distance between two sets of features, KID when they come from Inception-v3; in float64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sanakit.common.errors import ConfigError, ShapeError

Floats = NDArray[np.float64]

_ROWS = 1024  # of the kernel matrix at a time, so that 50 000 pictures need 0.4 GB


def polynomial_kernel(one: Floats, other: Floats) -> Floats:
    """``(x . y / F + 1)^3`` of features ``(N, F)`` and ``(M, F)``: ``(N, M)``."""
    kernel: Floats = (one @ other.T / one.shape[1] + 1) ** 3
    return kernel


def kernel_distance(real: NDArray[np.floating], fake: NDArray[np.floating]) -> float:
    """The unbiased estimate, from all pairs, of the squared maximum mean discrepancy of ``(N, F)`` and ``(M, F)``.

    Its expectation does not depend on the number of samples; for equal distributions it is often below zero.

    Source: Bińkowski et al., Demystifying MMD GANs, arXiv:1801.01401; estimator: Gretton et al., JMLR 13, 2012, eq. 3.
    """
    everything = np.ones((1, len(real))), np.ones((1, len(fake)))
    return float(weighted_kernel_distances(real, fake, *everything)[0])


def weighted_kernel_distances(
    real: NDArray[np.floating], fake: NDArray[np.floating], chosen_real: Floats, chosen_fake: Floats
) -> Floats:
    """`kernel_distance` of many subsets at once.

    Args:
        real, fake: all features, ``(N, F)`` and ``(M, F)``.
        chosen_real, chosen_fake: 1 for the samples of a subset, else 0: ``(S, N)`` and ``(S, M)``.

    Returns:
        One distance for each of the S subsets.

    Raises:
        ConfigError: a subset has fewer than two samples, or some feature is not finite.
    """
    real, fake = _checked(real, fake)
    num_real, num_fake = chosen_real.sum(1), chosen_fake.sum(1)
    if min(num_real.min(), num_fake.min()) < 2:
        raise ConfigError("a kernel distance needs at least 2 pictures on each side; give more")
    within_real = _sum_of_pairs(real, chosen_real) / (num_real * (num_real - 1))
    within_fake = _sum_of_pairs(fake, chosen_fake) / (num_fake * (num_fake - 1))
    across = np.zeros(len(chosen_real))
    for rows in _blocks(len(real)):
        kernel = polynomial_kernel(real[rows], fake)  # (rows, M)
        across += ((chosen_real[:, rows] @ kernel) * chosen_fake).sum(1)
    distances: Floats = within_real + within_fake - 2 * across / (num_real * num_fake)
    return distances


class SubsetDistance(NamedTuple):
    """The mean of kernel distances of random subsets, and the standard deviation of one."""

    mean: float
    deviation: float


def subset_kernel_distance(
    real: NDArray[np.floating], fake: NDArray[np.floating], *, num_subsets: int, subset_size: int, seed: int
) -> SubsetDistance:
    """KID as it was published: the mean over subsets that are drawn without replacement from either side.

    Raises:
        ConfigError: a side has fewer samples than ``subset_size``, or the numbers are too small.
    """
    real, fake = _checked(real, fake)
    if num_subsets < 1 or subset_size < 2 or subset_size > min(len(real), len(fake)):
        raise ConfigError(
            f"{num_subsets} subsets of {subset_size} cannot be drawn from {len(real)} and {len(fake)} pictures; "
            f"a subset needs at least 2 and at most all of them"
        )
    rng = np.random.default_rng((seed, 0x51B5))
    distances = [
        kernel_distance(
            real[rng.choice(len(real), subset_size, replace=False)],
            fake[rng.choice(len(fake), subset_size, replace=False)],
        )
        for _ in range(num_subsets)
    ]
    return SubsetDistance(float(np.mean(distances)), float(np.std(distances)))


def _sum_of_pairs(features: Floats, chosen: Floats) -> Floats:
    """The kernel summed over ordered pairs of different samples of each subset."""
    total = np.zeros(len(chosen))
    for rows in _blocks(len(features)):
        kernel = polynomial_kernel(features[rows], features)  # (rows, N)
        kernel[np.arange(len(kernel)), np.arange(rows.start, rows.start + len(kernel))] = 0
        total += ((chosen[:, rows] @ kernel) * chosen).sum(1)
    return total


def _blocks(num: int) -> Iterator[slice]:
    return (slice(start, min(start + _ROWS, num)) for start in range(0, num, _ROWS))


def _checked(real: NDArray[Any], fake: NDArray[Any]) -> tuple[Floats, Floats]:
    real, fake = real.astype(np.float64), fake.astype(np.float64)
    if real.ndim != 2 or fake.ndim != 2 or real.shape[1] != fake.shape[1]:
        raise ShapeError(f"features of shapes {real.shape} and {fake.shape} are not (N, F) and (M, F) of one extractor")
    if not (np.isfinite(real).all() and np.isfinite(fake).all()):
        raise ConfigError("some features are not finite numbers, so they have no distance; look at the pictures")
    return real, fake
