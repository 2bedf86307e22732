"""How often 95 % intervals of the Fréchet distance hold the truth: half-samples against two bootstraps.

    python benchmarks/interval_coverage.py            # two small cases, some seconds
    python benchmarks/interval_coverage.py --all      # the table of docs/evaluation.md, some minutes on one core

Two Gaussians with a known distance; ``expectation`` is the mean estimate over the repeats, ``truth`` the distance.
"""

from __future__ import annotations

import argparse

import numpy as np

from sanakit.evaluation.metrics.frechet import fit_gaussian, gaussian_distance, gaussian_of
from sanakit.evaluation.metrics.half_sampling import Indices, half_sampled

CASES = [
    # features, samples, shift, scale of the second covariance, repeats
    (8, 200, 1.0, 1.5, 200), (8, 200, 0.0, 1.0, 200), (8, 1000, 0.5, 1.2, 200), (32, 200, 1.0, 1.5, 200),
    (32, 1000, 1.0, 1.5, 100), (64, 100, 1.0, 1.5, 200), (64, 400, 1.0, 1.5, 100), (64, 1000, 0.0, 1.0, 100),
]  # fmt: skip
QUICK_CASES = [(8, 200, 1.0, 1.5, 100), (8, 200, 0.0, 1.0, 100)]
RESAMPLES = 100


def coverage(intervals: list[tuple[float, float]], truth: float) -> str:
    return f"{np.mean([low <= truth <= high for low, high in intervals]):5.0%}"


def measure(num_features: int, num: int, shift: float, scale: float, repeats: int) -> None:
    rng = np.random.default_rng(0)
    mixing, other = (rng.normal(size=(num_features, num_features)) / np.sqrt(num_features) for _ in range(2))
    first = mixing @ mixing.T + 0.1 * np.eye(num_features)
    second = first if scale == 1 else scale * (0.7 * first + 0.3 * other @ other.T)
    mean = np.full(num_features, shift / np.sqrt(num_features))
    truth = gaussian_distance(gaussian_of(np.zeros(num_features), first), gaussian_of(mean, second))
    roots = np.linalg.cholesky(first), np.linalg.cholesky(second)
    rng = np.random.default_rng(1)
    found, percentile, basic = [], [], []
    for repeat in range(repeats):
        real = rng.normal(size=(num, num_features)) @ roots[0].T
        fake = rng.normal(size=(num, num_features)) @ roots[1].T + mean

        def distance(one: Indices, two: Indices, real: np.ndarray = real, fake: np.ndarray = fake) -> float:
            return gaussian_distance(fit_gaussian(real[one]), fit_gaussian(fake[two]))

        halves = half_sampled(distance, (num, num), num_halves=RESAMPLES, seed=repeat, lowest=0.0)
        again = [distance(rng.integers(num, size=num), rng.integers(num, size=num)) for _ in range(RESAMPLES)]
        low, high = np.quantile(again, [0.025, 0.975])
        found.append(halves)
        percentile.append((low, high))
        basic.append((max(2 * halves.value - high, 0), max(2 * halves.value - low, 0)))
    expectation = float(np.mean([each.value for each in found]))
    ours = [(each.low, each.high) for each in found]
    corrected = [(each.corrected_low, each.corrected_high) for each in found]
    print(
        f"{num_features:>3} features {num:>5} samples  truth {truth:7.3f}  mean {expectation:7.3f}  "
        f"of the mean: halves {coverage(ours, expectation)}, percentile {coverage(percentile, expectation)};  "
        f"of the truth: halves {coverage(corrected, truth)}, percentile {coverage(percentile, truth)}, "
        f"basic {coverage(basic, truth)}",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Coverage of the intervals of the Fréchet distance.")
    parser.add_argument("--all", action="store_true", help="every case of the docs")
    for case in CASES if parser.parse_args().all else QUICK_CASES:
        measure(*case)
