"""How far two sets of clips are apart: by their frames, by the whole, and how steady each is."""

from __future__ import annotations

from sanakit.common.progress import OnProgress, no_progress
from sanakit.evaluation.metrics.frechet import fit_gaussian, gaussian_distance, too_few
from sanakit.evaluation.metrics.half_sampling import NUM_HALVES, Indices, half_sampled
from sanakit.evaluation.reports.clip_sets import ClipFeatures, Floats
from sanakit.evaluation.reports.distances import distance_measurement, frechet_distances, require_different
from sanakit.evaluation.reports.report import Measurement, Report, mean_of, use_of
from sanakit.scoring.extractors.extractor import FeatureExtractor
from sanakit.scoring.extractors.of_clips import ClipExtractor

PROTOCOL = (
    "frame FID: Fréchet distance of the features of all frames of both sets. clip FID, clip KID: Fréchet and kernel "
    "distance of features of whole clips; with fewer clips than features KID, which has no bias, stands first. "
    "temporal consistency: of a clip the mean cosine of the features of frames that follow each other; a still has 1, "
    "so more is only better up to that of true clips. Distances in float64; all intervals are over clips, as the "
    "frames of one are alike."
)


def clips_report(
    real: ClipFeatures,
    fake: ClipFeatures,
    extractors: tuple[FeatureExtractor, ClipExtractor],
    *,
    seed: int = 0,
    num_halves: int = NUM_HALVES,
    on_progress: OnProgress = no_progress,
) -> Report:
    """Distances and steadiness.

    Args:
        extractors: of frames, and of clips.

    Raises:
        RequestError: a set has fewer than four clips, or both are the same.
    """
    require_different(real.facts, fake.facts)
    clips = frechet_distances("clip FID", real.clips, fake.clips, seed=seed, num_halves=num_halves)
    fewest, num_features = min(len(real.clips), len(fake.clips)), real.frames.shape[2]
    frames = frame_distance(real.frames, fake.frames, seed=seed, num_halves=num_halves, on_progress=on_progress)
    return Report(
        title=f"Clips with {extractors[0].name}",
        protocol=PROTOCOL,
        measurements=(
            frames,
            *clips.measurements,
            *(_consistency(name, found, seed) for name, found in (("real", real), ("fake", fake))),
        ),
        missing={name: why.replace("pictures", "clips") for name, why in clips.missing.items()},
        seed=seed,
        inputs={"real": real.facts, "fake": fake.facts},
        settings={"halves": num_halves, "features": num_features, "distance_dtype": "float64"},
        networks=(use_of(extractors[0]), use_of(extractors[1])),
        warnings=too_few(fewest * real.frames.shape[1], num_features),
    )


def frame_distance(
    real: Floats, fake: Floats, *, seed: int, num_halves: int = NUM_HALVES, on_progress: OnProgress = no_progress
) -> Measurement:
    """Of features ``(N, T, F)`` and ``(M, T, F)``; halves are of clips."""

    def distance(of_real: Indices, of_fake: Indices) -> float:
        rows = (found[chosen].reshape(-1, found.shape[2]) for found, chosen in ((real, of_real), (fake, of_fake)))
        return gaussian_distance(*map(fit_gaussian, rows))

    found = half_sampled(
        distance, (len(real), len(fake)), num_halves=num_halves, seed=seed, lowest=0.0, on_progress=on_progress
    )
    fewest = min(len(real), len(fake))
    return distance_measurement(
        "frame FID", found, fewest, f"normal, deviation from {num_halves} random halves of clips"
    )


def _consistency(name: str, found: ClipFeatures, seed: int) -> Measurement:
    return mean_of(f"temporal consistency, {name}", found.consistency, seed=seed)
