"""``sanakit eval fid``, ``kid`` and ``clip-score``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sanakit.cli.terminal.console import print_json, tell
from sanakit.cli.terminal.options import DeviceOption, JsonOption, QuietOption, resolve_device
from sanakit.cli.terminal.output_place import check_folder
from sanakit.common.errors import RequestError

if TYPE_CHECKING:
    from sanakit.evaluation.reports.picture_features import FeatureSet
    from sanakit.evaluation.reports.report import Report
    from sanakit.scoring.extractors.extractor import FeatureExtractor

RealArgument = Annotated[Path, typer.Argument(help="Folder of pictures, or a data set: what they should be like.")]
FakeArgument = Annotated[Path, typer.Argument(help="The pictures to judge.")]
ExtractorOption = Annotated[
    str,
    typer.Option(help="efficientnet-lite0, a file of Inception-v3, or a folder or hub id of CLIP, SigLIP or DINOv2."),
]
ResizeOption = Annotated[
    str | None, typer.Option(help="bilinear (pytorch-fid) or bicubic (clean-fid), for Inception-v3.")
]
BatchOption = Annotated[int, typer.Option(min=1, help="Pictures of one size that go through the network together.")]
LimitOption = Annotated[int | None, typer.Option(min=1, help="Take the first so many pictures, by name.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Of the interval's random draws.")]
HalvesOption = Annotated[int, typer.Option(min=2, help="Random halves that the interval comes from.")]
BrokenOption = Annotated[bool, typer.Option("--skip-broken", help="Leave out what cannot be read, and say so.")]
ReportOption = Annotated[Path | None, typer.Option("--output", "-o", help="File of the whole report, JSON.")]


def fid(
    real: RealArgument,
    fake: FakeArgument,
    extractor: ExtractorOption = "efficientnet-lite0",
    resize: ResizeOption = None,
    limit: LimitOption = None,
    seed: SeedOption = 0,
    halves: HalvesOption = 100,
    batch_size: BatchOption = 16,
    skip_broken: BrokenOption = False,
    output: ReportOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Fréchet distance between the features of two sets of pictures, with an interval and without its bias.

    With another network than Inception-v3 the number is one of its own and not comparable with published FIDs.
    """
    check_report(output)

    from sanakit.cli.terminal.progress import ProgressBar
    from sanakit.evaluation.reports.distances import fid_report

    network, sets = _both(real, fake, extractor, resize, limit, batch_size, skip_broken, device, quiet)
    with ProgressBar("measuring halves", unit="halves", quiet=quiet) as bar:
        report = fid_report(*sets, network, seed=seed, num_halves=halves, on_progress=bar.update)
    show_report(report, output, as_json=as_json, quiet=quiet)


def kid(
    real: RealArgument,
    fake: FakeArgument,
    extractor: ExtractorOption = "efficientnet-lite0",
    resize: ResizeOption = None,
    limit: LimitOption = None,
    seed: SeedOption = 0,
    halves: HalvesOption = 100,
    subsets: Annotated[int, typer.Option(min=1, help="Random subsets, as KID was published.")] = 100,
    subset_size: Annotated[int | None, typer.Option(min=2, help="Pictures in each; 1000, or all if fewer.")] = None,
    batch_size: BatchOption = 16,
    skip_broken: BrokenOption = False,
    output: ReportOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Kernel distance between the features of two sets of pictures: no bias, so it also suits few pictures."""
    check_report(output)

    from sanakit.evaluation.reports.distances import kid_report

    network, sets = _both(real, fake, extractor, resize, limit, batch_size, skip_broken, device, quiet)
    report = kid_report(
        *sets, network, seed=seed, num_halves=halves, num_subsets=subsets, subset_size=subset_size
    )  # fmt: skip
    show_report(report, output, as_json=as_json, quiet=quiet)


def clip_score(
    pictures: Annotated[Path, typer.Argument(help="Pictures that sanakit made, or a data set with captions.")],
    scorer: Annotated[
        str, typer.Option(help="starter, or a folder or hub id of a transformers CLIP or SigLIP.")
    ] = "starter",
    limit: LimitOption = None,
    seed: SeedOption = 0,
    output: ReportOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """How well pictures fit their texts: the prompts inside pictures of sanakit, or the captions of a data set."""
    check_report(output)

    from sanakit.cli.terminal.picture_run import show_log
    from sanakit.cli.terminal.progress import ProgressBar
    from sanakit.evaluation.reports.captioned import clip_score_report, open_captioned
    from sanakit.scoring.scorers import load_scorer

    show_log(quiet=quiet)
    found = open_captioned(pictures, limit=limit)
    network = load_scorer(scorer, device=resolve_device(device))
    with ProgressBar("scoring", unit="pictures", quiet=quiet) as bar:
        report = clip_score_report(found, network, seed=seed, on_progress=bar.update)
    show_report(report, output, as_json=as_json, quiet=quiet)


def check_report(output: Path | None) -> None:
    """Find out before minutes are spent whether the report can be written."""
    if output is not None:
        if output.is_dir():
            raise RequestError(f"--output {output} is a folder; name a file of the report in it, such as report.json")
        check_folder(output.parent, 1_000_000)


def show_report(report: Report, output: Path | None, *, as_json: bool, quiet: bool) -> None:
    """The table or JSON on stdout, and JSON in the file, whole or not at all."""
    from sanakit.common.files import write_json
    from sanakit.evaluation.reports.report import report_table

    facts = report.to_json()
    if output is not None:
        write_json(output, facts)
        tell(f"the whole report is in {output}", quiet=quiet)
    if as_json:
        print_json(facts)
    else:
        print(report_table(report))


def _both(
    real: Path, fake: Path, extractor: str, resize: str | None, limit: int | None, batch_size: int, skip_broken: bool,
    device: str, quiet: bool,
) -> tuple[FeatureExtractor, tuple[FeatureSet, FeatureSet]]:  # fmt: skip
    """The network, and its features of both sets; what cannot work is said before the network is loaded."""
    from sanakit.cli.terminal.picture_run import show_log
    from sanakit.cli.terminal.progress import ProgressBar
    from sanakit.evaluation.metrics.half_sampling import MIN_SAMPLES
    from sanakit.evaluation.reports.distances import require_different
    from sanakit.evaluation.reports.picture_features import extract_features
    from sanakit.evaluation.reports.picture_sets import open_pictures
    from sanakit.scoring.extractors.load import load_extractor

    show_log(quiet=quiet)
    if real.exists() and fake.exists() and real.resolve() == fake.resolve():
        raise RequestError(f"{real} and {fake} are the same place, whose distance to itself is 0; give two sets")
    sets = [open_pictures(path, limit=limit, at_least=MIN_SAMPLES) for path in (real, fake)]
    place = resolve_device(device)
    network = load_extractor(extractor, resize=resize, device=place)
    features = []
    for pictures, name in zip(sets, ("real", "fake"), strict=True):
        with ProgressBar(f"reading the {name} pictures", unit="pictures", quiet=quiet) as bar:
            features.append(
                extract_features(
                    pictures, network, batch_size=batch_size, device=place, skip_broken=skip_broken,
                    on_progress=bar.update,
                )
            )  # fmt: skip
    require_different(features[0].facts, features[1].facts)
    return network, (features[0], features[1])
