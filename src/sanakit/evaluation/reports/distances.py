"""FID and KID between two sets of pictures, as reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sanakit.common.errors import RequestError
from sanakit.common.progress import OnProgress, no_progress
from sanakit.evaluation.metrics.frechet import fit_gaussian, gaussian_distance, too_few
from sanakit.evaluation.metrics.half_sampling import (
    MIN_SAMPLES,
    NUM_HALVES,
    HalfSampled,
    Indices,
    draw_halves,
    half_sampled,
    interval_from_halves,
)
from sanakit.evaluation.metrics.kernel_distance import (
    kernel_distance,
    subset_kernel_distance,
    weighted_kernel_distances,
)
from sanakit.evaluation.reports.picture_features import FeatureSet
from sanakit.evaluation.reports.report import Measurement, Report, use_of
from sanakit.scoring.extractors.extractor import FeatureExtractor
from sanakit.scoring.named import NamedNetwork

Floats = NDArray[np.float64]

FID_PROTOCOL = (
    "Fréchet distance of Gaussians fitted to features, in float64. FID is the number as it is always reported, too "
    "large by about c/N; FID without bias is extrapolated from halves to endlessly many pictures."
)
KID_PROTOCOL = (
    "Unbiased squared maximum mean discrepancy of features with the kernel (x.y/F + 1)^3, in float64. KID uses all "
    "pairs; KID of subsets is the mean over random subsets, as it was published."
)
_HALVES = "normal, deviation from {} random halves of both sets without replacement"


def fid_report(
    real: FeatureSet, fake: FeatureSet, extractor: FeatureExtractor, *, seed: int = 0, num_halves: int = NUM_HALVES,
    on_progress: OnProgress = no_progress,
) -> Report:  # fmt: skip
    """The Fréchet distance with its interval, and the same without its bias.

    Raises:
        RequestError: a set has fewer than four pictures.
    """
    found = frechet_with_interval(
        real.features, fake.features, seed=seed, num_halves=num_halves, on_progress=on_progress
    )
    fewest, num_features = _fewest(real.features, fake.features), real.features.shape[1]
    return Report(
        title=f"FID with {extractor.name}",
        protocol=FID_PROTOCOL,
        measurements=frechet_measurements("FID", found, fewest),
        seed=seed,
        inputs={"real": real.facts, "fake": fake.facts},
        settings={"halves": num_halves, "features": num_features, "distance_dtype": "float64"},
        networks=(use_of(extractor),),
        warnings=too_few(fewest, num_features),
    )


def frechet_with_interval(
    real: Floats, fake: Floats, *, seed: int, num_halves: int = NUM_HALVES, paired: bool = False,
    on_progress: OnProgress = no_progress,
) -> HalfSampled:  # fmt: skip
    """The Fréchet distance of features ``(N, F)``, ``(M, F)``; ``paired`` if row i of both comes from one picture."""
    _fewest(real, fake)

    def distance(of_real: Indices, of_fake: Indices) -> float:
        return gaussian_distance(fit_gaussian(real[of_real]), fit_gaussian(fake[of_fake]))

    return half_sampled(
        distance, (len(real), len(fake)), num_halves=num_halves, seed=seed, paired=paired, lowest=0.0,
        on_progress=on_progress,
    )  # fmt: skip


def frechet_measurements(name: str, found: HalfSampled, num_samples: int) -> tuple[Measurement, ...]:
    how = _HALVES.format(found.num_halves)
    corrected = replace(found, value=found.corrected, low=found.corrected_low, high=found.corrected_high)
    return (
        _distance(name, found, num_samples, f"{how}; of the expectation at this number of pictures"),
        _distance(
            f"{name} without bias", corrected, num_samples, f"{how}; of the distance itself, to first order in 1/N"
        ),
    )


def _distance(name: str, found: HalfSampled, num_samples: int, interval: str) -> Measurement:
    ends: dict[str, Any] = {"low": found.low, "high": found.high}
    return Measurement(name=name, value=found.value, **ends, num_samples=num_samples, better="lower", interval=interval)


def kid_report(
    real: FeatureSet, fake: FeatureSet, extractor: NamedNetwork, *, seed: int = 0, num_halves: int = NUM_HALVES,
    num_subsets: int = 100, subset_size: int | None = None,
) -> Report:  # fmt: skip
    """The kernel distance of all pairs, and as published over subsets of ``subset_size`` (1000, or all if fewer).

    Raises:
        RequestError: a set has fewer than four pictures.
        ConfigError: ``subset_size`` pictures are not there.
    """
    fewest = _fewest(real.features, fake.features)
    subset_size = min(1000, fewest) if subset_size is None else subset_size
    subsets = subset_kernel_distance(
        real.features, fake.features, num_subsets=num_subsets, subset_size=subset_size, seed=seed
    )
    replicates = _kernel_replicates(real.features, fake.features, num_halves, seed)
    whole = interval_from_halves(kernel_distance(real.features, fake.features), replicates)
    of_subsets = interval_from_halves(subsets.mean, replicates, extra_variance=subsets.deviation**2 / num_subsets)
    how = _HALVES.format(num_halves)
    drawn = {"subsets": num_subsets, "subset_size": subset_size, "subset_deviation": subsets.deviation}
    return Report(
        title=f"KID with {extractor.name}",
        protocol=KID_PROTOCOL,
        measurements=(
            _distance("KID", whole, fewest, how),
            _distance("KID of subsets", of_subsets, fewest, f"{how}, and the spread of the subsets"),
        ),
        seed=seed,
        inputs={"real": real.facts, "fake": fake.facts},
        settings={"halves": num_halves, **drawn, "features": real.features.shape[1], "distance_dtype": "float64"},
        networks=(use_of(extractor),),
    )


def _kernel_replicates(real: Floats, fake: Floats, num_halves: int, seed: int) -> Floats:
    chosen_real, chosen_fake = np.zeros((num_halves, len(real))), np.zeros((num_halves, len(fake)))
    halves = draw_halves(len(real), len(fake), num_halves=num_halves, seed=seed)
    for row, (of_real, of_fake) in enumerate(halves):
        chosen_real[row, of_real] = chosen_fake[row, of_fake] = 1
    return weighted_kernel_distances(real, fake, chosen_real, chosen_fake)


def require_different(real: Mapping[str, Any], fake: Mapping[str, Any]) -> None:
    """Raises:
    RequestError: both sets hold the same pixels in the same order.
    """
    if real["pixels_sha256"] == fake["pixels_sha256"]:
        raise RequestError(
            f"{real['path']} and {fake['path']} hold the same pictures, so their distance says nothing; give two sets"
        )


def _fewest(real: Floats, fake: Floats) -> int:
    fewest = min(len(real), len(fake))
    if fewest < MIN_SAMPLES:
        raise RequestError(
            f"{len(real)} and {len(fake)} pictures are too few for a distance with an interval; "
            f"give at least {MIN_SAMPLES} of each"
        )
    return fewest
