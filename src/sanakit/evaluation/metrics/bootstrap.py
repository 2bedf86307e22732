"""How sure a mean is: the percentile bootstrap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sanakit.common.errors import ConfigError

NUM_RESAMPLES = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A mean over ``num_samples`` and the 95 % interval ``low`` to ``high`` around it."""

    mean: float
    low: float
    high: float
    num_samples: int


def estimate(values: Sequence[float] | Sequence[bool], *, seed: int, level: float = 0.95) -> Estimate:
    """The mean of independent samples with its bootstrap interval.

    The samples are drawn again with replacement ``NUM_RESAMPLES`` times; the interval holds the middle ``level`` of
    the means. When all samples are equal it has no width, so beside 100 % look at the number of samples.

    Raises:
        ConfigError: there are no samples.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    return estimate_mean_of_groups({"all": values}, seed=seed, level=level)


def estimate_mean_of_groups(
    groups: Mapping[str, Sequence[float] | Sequence[bool]], *, seed: int, level: float = 0.95
) -> Estimate:
    """The mean of the means of groups, each of which is drawn again by itself: every group weighs the same.

    Raises:
        ConfigError: there is no group, or an empty one.
    """
    parts = [np.asarray(values, dtype=np.float64) for values in groups.values()]
    if not min((part.size for part in parts), default=0):
        raise ConfigError("a mean of 0 samples has no interval; give at least one sample of each group")
    rng = np.random.default_rng(seed)
    chosen = [part[rng.integers(part.size, size=(NUM_RESAMPLES, part.size))] for part in parts]
    means = np.mean([samples.mean(1) for samples in chosen], axis=0)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    mean = float(np.mean([part.mean() for part in parts]))
    return Estimate(mean=mean, low=float(low), high=float(high), num_samples=sum(part.size for part in parts))


def estimate_ratio(
    values: Sequence[float] | Sequence[bool], base: Sequence[float] | Sequence[bool], *, seed: int, level: float = 0.95
) -> Estimate:
    """The mean of ``values`` divided by that of ``base``, which belong together in pairs and are drawn again in pairs.

    Draws in which the base is 0 say nothing and are left out.

    Raises:
        ConfigError: the base is 0 throughout, or there are not as many of one as of the other.
    """
    upper, lower = np.asarray(values, dtype=np.float64), np.asarray(base, dtype=np.float64)
    if upper.shape != lower.shape or not lower.any():
        raise ConfigError(f"{upper.size} values cannot be divided by {lower.size} whose mean is {lower.sum()}")
    chosen = np.random.default_rng(seed).integers(lower.size, size=(NUM_RESAMPLES, lower.size))
    uppers, lowers = upper[chosen].mean(1), lower[chosen].mean(1)
    ratios = uppers[lowers > 0] / lowers[lowers > 0]
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    mean = float(upper.mean() / lower.mean())
    return Estimate(mean=mean, low=float(low), high=float(high), num_samples=lower.size)
