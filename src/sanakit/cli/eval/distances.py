"""``sanakit eval fid``, ``kid`` and ``clip-score``"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sanakit.cli.eval.options import ExtractorOptions, MeasureOptions
from sanakit.cli.terminal.options import TrustOptions

if TYPE_CHECKING:
    from sanakit.checkpoints.files.hub import HubOptions
    from sanakit.evaluation.reports.picture_features import FeatureSet
    from sanakit.scoring.extractors.extractor import FeatureExtractor

RealArgument = Annotated[Path, typer.Argument(help="Folder of pictures, or a data set: what they should be like.")]
FakeArgument = Annotated[Path, typer.Argument(help="The pictures to judge.")]


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How pictures are read."""

    batch_size: Annotated[
        int, typer.Option(min=1, help="Pictures of one size that go through the network together.")
    ] = 16
    skip_broken: Annotated[bool, typer.Option("--skip-broken", help="Leave out what cannot be read, and say so.")] = (
        False
    )


def fid(
    real: RealArgument,
    fake: FakeArgument,
    network: ExtractorOptions,
    reading: ReadOptions,
    measure: MeasureOptions,
    trust: TrustOptions,
) -> None:
    """Fréchet distance between the features of two sets of pictures, with an interval and without its bias.

    With another network than Inception-v3 the number is one of its own and not comparable with published FIDs.
    """
    measure.check_sets(real, fake)

    from sanakit.evaluation.reports.distances import fid_report

    extractor, sets = _both(real, fake, network, reading, measure, trust.trusting(network.extractor))
    with measure.bar("measuring halves", unit="halves") as on_progress:
        report = fid_report(*sets, extractor, seed=measure.seed, num_halves=network.halves, on_progress=on_progress)
    measure.show(report)


def kid(
    real: RealArgument,
    fake: FakeArgument,
    network: ExtractorOptions,
    reading: ReadOptions,
    measure: MeasureOptions,
    trust: TrustOptions,
    subsets: Annotated[int, typer.Option(min=1, help="Random subsets, as KID was published.")] = 100,
    subset_size: Annotated[int | None, typer.Option(min=2, help="Pictures in each; 1000, or all if fewer.")] = None,
) -> None:
    """Kernel distance between the features of two sets of pictures: no bias, so it also suits few pictures."""
    measure.check_sets(real, fake)

    from sanakit.evaluation.reports.distances import kid_report

    extractor, sets = _both(real, fake, network, reading, measure, trust.trusting(network.extractor))
    report = kid_report(
        *sets, extractor, seed=measure.seed, num_halves=network.halves, num_subsets=subsets, subset_size=subset_size
    )
    measure.show(report)


def clip_score(
    pictures: Annotated[Path, typer.Argument(help="Pictures that sanakit made, or a data set with captions.")],
    measure: MeasureOptions,
    trust: TrustOptions,
    scorer: Annotated[
        str, typer.Option(help="starter, or a folder or hub id of a transformers CLIP or SigLIP.")
    ] = "starter",
) -> None:
    """How well pictures fit their texts: the prompts inside pictures of sanakit, or the captions of a data set."""
    measure.check()

    from sanakit.evaluation.reports.captioned import clip_score_report, open_captioned
    from sanakit.scoring.scorers import load_scorer

    hub = trust.trusting(scorer)
    found = open_captioned(pictures, **measure.which)
    network = load_scorer(scorer, device=measure.start(), hub=hub)
    with measure.bar("scoring", unit="pictures") as on_progress:
        report = clip_score_report(found, network, seed=measure.seed, on_progress=on_progress)
    measure.show(report)


def _both(
    real: Path, fake: Path, network: ExtractorOptions, reading: ReadOptions, measure: MeasureOptions, hub: HubOptions
) -> tuple[FeatureExtractor, tuple[FeatureSet, FeatureSet]]:
    """The network, and its features of both sets; what cannot work is said before the network is loaded."""
    from sanakit.evaluation.metrics.half_sampling import MIN_SAMPLES
    from sanakit.evaluation.reports.distances import require_different
    from sanakit.evaluation.reports.picture_features import extract_features
    from sanakit.evaluation.reports.picture_sets import open_pictures

    sets = [open_pictures(path, **measure.which, at_least=MIN_SAMPLES) for path in (real, fake)]
    device = measure.start()
    extractor = network.load(device, hub)
    features = []
    for pictures, name in zip(sets, ("real", "fake"), strict=True):
        with measure.bar(f"reading the {name} pictures", unit="pictures") as on_progress:
            how = {**asdict(reading), "device": device, "on_progress": on_progress}
            features.append(extract_features(pictures, extractor, **how))
    require_different(features[0].facts, features[1].facts)
    return extractor, (features[0], features[1])
