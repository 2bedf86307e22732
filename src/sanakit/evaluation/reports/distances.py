"""FID and KID between two sets of pictures, as reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sanakit.common.errors import RequestError
from sanakit.common.progress import OnProgress, no_progress
from sanakit.evaluation.metrics.frechet import fit_gaussian, gaussian_distance, too_few
from sanakit.evaluation.metrics.half_sampling import (
    NUM_HALVES,
    HalfSampled,
    Indices,
    draw_halves,
    half_sampled,
    interval_from_halves,
    require_enough,
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
    "large by about c/N; FID without bias is extrapolated from halves to endlessly many pictures, where there are as "
    "many as features; where there are fewer, KID, which has no such bias, stands first."
)
KID_PROTOCOL = (
    "Unbiased squared maximum mean discrepancy of features with the kernel (x.y/F + 1)^3, in float64. KID uses all "
    "pairs; KID of subsets is the mean over random subsets, as it was published."
)
_HALVES = "normal, deviation from {1} random halves of {0} without replacement"


def fid_report(
    real: FeatureSet, fake: FeatureSet, extractor: FeatureExtractor, *, seed: int = 0, num_halves: int = NUM_HALVES,
    on_progress: OnProgress = no_progress,
) -> Report:  # fmt: skip
    """The Fréchet distance with its interval, and the same without its bias; of few pictures see `frechet_distances`.

    Raises:
        RequestError: a set has fewer than four pictures.
    """
    found = frechet_distances(
        "FID", real.features, fake.features, seed=seed, num_halves=num_halves, on_progress=on_progress
    )
    fewest, num_features = _fewest(real.features, fake.features), real.features.shape[1]
    return Report(
        title=f"FID with {extractor.name}",
        protocol=FID_PROTOCOL,
        measurements=found.measurements,
        missing=found.missing,
        seed=seed,
        inputs={"real": real.facts, "fake": fake.facts},
        settings={"halves": num_halves, "features": num_features, "distance_dtype": "float64"},
        networks=(use_of(extractor),),
        warnings=too_few(fewest, num_features),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Distances:
    """The numbers of a distance in the order in which they count, and those that these samples cannot give."""

    measurements: tuple[Measurement, ...]
    missing: Mapping[str, str]  # name to reason


def frechet_distances(
    name: str, real: Floats, fake: Floats, *, seed: int, num_halves: int = NUM_HALVES, paired: bool = False,
    on_progress: OnProgress = no_progress,
) -> Distances:  # fmt: skip
    """The Fréchet distance of features ``(N, F)``, ``(M, F)``, and the same without its bias.

    With fewer samples than features the bias cannot be extrapolated (of 88 such intervals none held the truth): the
    number is missing, and the kernel distance stands first, where ``name`` has an FID in it and the sets are no pairs.

    Args:
        paired: row i of both comes from one picture.
    """
    fewest, num_features = _fewest(real, fake), real.shape[1]

    def distance(of_real: Indices, of_fake: Indices) -> float:
        return gaussian_distance(fit_gaussian(real[of_real]), fit_gaussian(fake[of_fake]))

    found = half_sampled(
        distance, (len(real), len(fake)), num_halves=num_halves, seed=seed, paired=paired, lowest=0.0,
        on_progress=on_progress,
    )  # fmt: skip
    how, unbiased = _HALVES.format("the pairs" if paired else "both sets", num_halves), f"{name} without bias"
    plain = distance_measurement(name, found, fewest, f"{how}; of the expectation at this number of pictures")
    if fewest < num_features:
        reason = f"{fewest} pictures are fewer than the {num_features} features: too few to tell the bias"
        kernel = () if paired else (_kernel_distance(name.replace("FID", "KID", 1), real, fake, num_halves, seed),)
        return Distances(measurements=(*kernel, plain), missing={unbiased: reason})
    corrected = replace(found, value=found.corrected, low=found.corrected_low, high=found.corrected_high)
    of_itself = distance_measurement(
        unbiased, corrected, fewest, f"{how}; of the distance itself, to first order in 1/N"
    )
    return Distances(measurements=(plain, of_itself), missing={})


def distance_measurement(name: str, found: HalfSampled, num_samples: int, interval: str) -> Measurement:
    """Of which less is better."""
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
    of_subsets = interval_from_halves(subsets.mean, replicates, extra_variance=subsets.deviation**2 / num_subsets)
    how = _HALVES.format("both sets", num_halves)
    drawn = {"subsets": num_subsets, "subset_size": subset_size, "subset_deviation": subsets.deviation}
    return Report(
        title=f"KID with {extractor.name}",
        protocol=KID_PROTOCOL,
        measurements=(
            _kernel_distance("KID", real.features, fake.features, num_halves, seed),
            distance_measurement("KID of subsets", of_subsets, fewest, f"{how}, and the spread of the subsets"),
        ),
        seed=seed,
        inputs={"real": real.facts, "fake": fake.facts},
        settings={"halves": num_halves, **drawn, "features": real.features.shape[1], "distance_dtype": "float64"},
        networks=(use_of(extractor),),
    )


def _kernel_distance(name: str, real: Floats, fake: Floats, num_halves: int, seed: int) -> Measurement:
    """Of all pairs."""
    found = interval_from_halves(kernel_distance(real, fake), _kernel_replicates(real, fake, num_halves, seed))
    return distance_measurement(name, found, _fewest(real, fake), _HALVES.format("both sets", num_halves))


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
    require_enough(fewest, f"{len(real)} and {len(fake)} pictures")
    return fewest
