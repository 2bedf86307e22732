"""How sure a distance between two sets is: half-sampling, where resampling with replacement misleads.

The bootstrap draws samples twice. For a Fréchet distance that takes rank from a covariance and inflates every
replicate; for a kernel distance a sample and its copy are a pair that the unbiased estimate must not hold. Drawing
half of each set *without* replacement has neither fault, and needs no factor: a mean over a random half of N samples
varies around the mean of all of them with variance ``s^2 / (N/2) * (1 - 1/2) = s^2 / N``, which is the variance of the
mean of all N. So does every statistic that is a mean to first order, as both distances are. What is left over is a
statistic of pairs (equal distributions): there the half varies more, and the interval is too wide, never too narrow.

Halves also show the bias. A Fréchet distance of N samples is too large by ``c / N`` to first order, the mean over
halves by ``2 c / N``; the difference is the bias of the whole.

Sources: McCarthy, Pseudo-replication: half samples, 1969; Shao and Wu, A general theory for jackknife variance
estimation, Annals of Statistics 17, 1989 (delete-d); extrapolation to no bias: Chong and Forsyth, arXiv:1911.07023.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from sanakit.common.errors import ConfigError, RequestError
from sanakit.common.progress import OnProgress, no_progress

Indices = NDArray[np.intp]

MIN_SAMPLES = 4  # of the smaller set: its half must still have a covariance
NUM_HALVES = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class HalfSampled:
    """A statistic of all samples with what its halves say.

    ``low`` to ``high`` holds the expectation of the statistic at this number of samples. ``corrected`` with
    ``corrected_low`` to ``corrected_high`` is the same without the bias that falls as 1 / N.
    """

    value: float
    low: float
    high: float
    corrected: float
    corrected_low: float
    corrected_high: float
    num_halves: int


def require_enough(num_samples: int, given: str) -> None:
    """Raises RequestError where so many, which ``given`` tells, have no interval."""
    if num_samples < MIN_SAMPLES:
        raise RequestError(f"{given}: too few for a distance with its interval, which wants {MIN_SAMPLES} or more")


def draw_halves(
    num_real: int, num_fake: int, *, num_halves: int, seed: int, paired: bool = False
) -> list[tuple[Indices, Indices]]:
    """Random halves of both sets, sorted indices without repeats; ``paired`` takes the same samples of both.

    Raises:
        ConfigError: a set is too small to be halved, or fewer than two halves are asked for.
    """
    if min(num_real, num_fake) < MIN_SAMPLES or num_halves < 2:
        raise ConfigError(
            f"{num_halves} halves of {num_real} and {num_fake} samples give no interval; at least {MIN_SAMPLES} "
            f"samples a side and 2 halves are needed"
        )
    if paired and num_real != num_fake:
        raise ConfigError(f"{num_real} and {num_fake} samples are no pairs; give as many of one as of the other")
    rng = np.random.default_rng((seed, 0x4A1F))
    halves = []
    for _ in range(num_halves):
        real = np.sort(rng.permutation(num_real)[: num_real // 2])
        halves.append((real, real if paired else np.sort(rng.permutation(num_fake)[: num_fake // 2])))
    return halves


def interval_from_halves(
    value: float, replicates: NDArray[np.float64], *, lowest: float = -np.inf, extra_variance: float = 0.0
) -> HalfSampled:
    """The 95 % normal interval whose deviation is that of the halves.

    Args:
        value: the statistic of all samples.
        replicates: the same of each half.
        lowest: a bound that the quantity cannot be below; ends of intervals are moved up to it.
        extra_variance: of the value given the samples, such as that of a random choice of subsets.
    """
    deviation = float(np.sqrt(replicates.var(ddof=1) + extra_variance))
    reach = NormalDist().inv_cdf((1 + 0.95) / 2) * deviation
    corrected = value - (float(replicates.mean()) - value)
    return HalfSampled(
        value=value,
        low=max(value - reach, lowest),
        high=max(value + reach, lowest),
        corrected=max(corrected, lowest),
        corrected_low=max(corrected - reach, lowest),
        corrected_high=max(corrected + reach, lowest),
        num_halves=len(replicates),
    )


def half_sampled(
    statistic: Callable[[Indices, Indices], float],
    sizes: tuple[int, int],
    *,
    num_halves: int = NUM_HALVES,
    seed: int,
    paired: bool = False,
    lowest: float = -np.inf,
    on_progress: OnProgress = no_progress,
) -> HalfSampled:
    """A statistic of two sets of these sizes, given as a function of the indices that it may use, with its interval."""
    halves = draw_halves(*sizes, num_halves=num_halves, seed=seed, paired=paired)
    value = statistic(*map(np.arange, sizes))
    replicates = []
    for number, half in enumerate(halves, start=1):
        replicates.append(statistic(*half))
        on_progress(number, num_halves, "measuring halves")
    return interval_from_halves(value, np.asarray(replicates), lowest=lowest)
