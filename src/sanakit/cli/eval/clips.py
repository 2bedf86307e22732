"""``sanakit eval clips``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sanakit.cli.eval.options import ExtractorOptions, MeasureOptions
from sanakit.cli.terminal.options import TrustOptions


def clips(
    real: Annotated[Path, typer.Argument(help="Folder of clips, or a data set: what they should be like.")],
    fake: Annotated[Path, typer.Argument(help="The clips to judge.")],
    network: ExtractorOptions,
    measure: MeasureOptions,
    trust: TrustOptions,
    clip_extractor: Annotated[
        str, typer.Option(help="frames, or a folder or hub id of a transformers VideoMAE.")
    ] = "frames",
    frames: Annotated[
        int, typer.Option(min=2, help="Of every clip, from its beginning; shorter ones are left out.")
    ] = 16,
    fps: Annotated[float, typer.Option(min=0.1, help="Frames a second at which clips are read.")] = 8.0,
) -> None:
    """Two sets of clips: Fréchet distance of their frames and of whole clips, and how steady the clips are."""
    measure.check_sets(real, fake)

    from sanakit.evaluation.metrics.half_sampling import MIN_SAMPLES
    from sanakit.evaluation.reports.clip_distances import clips_report
    from sanakit.evaluation.reports.clip_sets import clip_features, open_clips
    from sanakit.scoring.extractors.of_clips import load_clip_extractor

    how = {"num_frames": frames, "fps": fps, "at_least": MIN_SAMPLES, **measure.which}
    sets = [open_clips(path, **how) for path in (real, fake)]
    device = measure.start()
    of_frames = network.load(device, trust.trusting(network.extractor))
    of_clips = load_clip_extractor(clip_extractor, of_frames, device=device, hub=trust.trusting(clip_extractor))
    found = []
    for each, name in zip(sets, ("real", "fake"), strict=True):
        with measure.bar(f"reading the {name} clips", unit="clips") as on_progress:
            found.append(clip_features(each, of_frames, of_clips, device=device, on_progress=on_progress))
    with measure.bar("measuring halves", unit="halves") as on_progress:
        report = clips_report(
            found[0],
            found[1],
            (of_frames, of_clips),
            seed=measure.seed,
            num_halves=network.halves,
            on_progress=on_progress,
        )
    measure.show(report)
