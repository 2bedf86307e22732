"""``sanakit eval motion``"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sanakit.cli.eval.options import (
    BankOption,
    DrawOptions,
    NamesOption,
    ReaderOption,
    ReportOption,
    check_report,
    show_report,
)
from sanakit.cli.terminal.output_place import check_folder
from sanakit.common.errors import RequestError

if TYPE_CHECKING:
    from sanakit.evaluation.reports.report import Report
    from sanakit.evaluation.worlds.moving import Frames
    from sanakit.pipelines.text_to_image import TextToImagePipeline
    from sanakit.scoring.reading.recogniser import RecogniserReader
    from sanakit.worlds.banks.bank import Bank

_SHEET_BYTES = 8_000_000


def motion(
    draw: DrawOptions,
    model: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="A model of clips; without one the reader itself is judged.")
    ] = None,
    bank: BankOption = "drawings",
    names: NamesOption = None,
    reader: ReaderOption = None,
    num: Annotated[int, typer.Option(min=1, help="Clips of held-out scenes in motion.")] = 100,
    size: Annotated[int, typer.Option(min=32, help="Pixels each way of true clips, where no model is given.")] = 96,
    seed: Annotated[int, typer.Option(min=0, help="Decides the scenes.")] = 0,
    distances: Annotated[
        bool,
        typer.Option("--distances", help="Of a model: how far its clips are from the true ones, as of eval clips."),
    ] = False,
    sheet: Annotated[
        bool, typer.Option("--sheet", help="Only make the README's clips, at seed 0: OUTPUT.png film strips, .gif all.")
    ] = False,
    output: ReportOption = None,
) -> None:
    """How often things and their motion are right in a model's clips of held-out prompts; or how well the reader reads
    them in true clips, and how often it passes wrong ones; with --autoencoder in what that leaves of them."""
    if sheet:
        _draw_sheet(draw, model, output or Path("clips.png"))
        return
    check_report(output)
    if distances and model is None:
        raise RequestError("--distances are those of a model's clips; give --model")

    from sanakit.evaluation.metrics.half_sampling import require_enough
    from sanakit.evaluation.worlds.moving import Clips, motion_reading_report
    from sanakit.evaluation.worlds.subject import subject_of
    from sanakit.features.scenes import open_bank
    from sanakit.scoring.reading.load import load_reader

    if distances:
        require_enough(num, f"--distances of --num {num}")
    chosen, things = load_reader(reader, device=draw.start()), open_bank(bank, names)
    if model is not None:
        show_report(_of_model(draw, model, chosen, things, (num, seed), distances=distances), output, draw)
        return
    readable = subject_of(things, {}, readable=chosen.words.readable).bank
    through, settings = (None, {}) if draw.autoencoder is None else _through(draw.autoencoder, draw.start())
    clips = Clips(bank=readable, num=num, seed=seed, size=size, through=through)
    with draw.bar("reading", unit="clips") as on_progress:
        report = motion_reading_report(chosen, clips, settings=settings, on_progress=on_progress)
    show_report(report, output, draw)


def _draw_sheet(draw: DrawOptions, model: str | None, output: Path) -> None:
    if model is None:
        raise RequestError("--sheet is of a model's clips; give --model")
    if output.suffix not in (".png", ".gif"):
        raise RequestError(f"--output {output.name}: a sheet of clips is a .png of film strips, or a .gif")
    check_folder(output.parent, _SHEET_BYTES)

    from sanakit.evaluation.drawing import drawing_clips_with
    from sanakit.evaluation.reports.clip_sheet import save_clip_sheet
    from sanakit.worlds.telling.sheet_prompts import CLIP_SHEET_PROMPTS

    pipeline = _load(draw, model)
    with draw.bar("drawing", unit="clips") as on_progress:
        made = drawing_clips_with(pipeline, **draw.chosen)
        save_clip_sheet(made, CLIP_SHEET_PROMPTS, 0, output, on_progress=on_progress)
    draw.tell(f"the sheet is in {output}")


def _load(draw: DrawOptions, model: str) -> TextToImagePipeline:
    from sanakit.pipelines.request import VideoRequest

    return draw.load([VideoRequest(prompt="a clip", **draw.chosen)], model)


def _through(source: str, device: str) -> tuple[Callable[[Frames], Frames], dict[str, str]]:
    """What an autoencoder makes of clips, and which it is."""
    import torch

    from sanakit.checkpoints.identity.hashing import hash_tensors
    from sanakit.checkpoints.networks.strict_load import load_network
    from sanakit.checkpoints.sources.complete import find_trainable_autoencoder
    from sanakit.evaluation.reports.reconstruction import rebuilt_clip

    network = load_network(find_trainable_autoencoder(source), dtype=torch.float32, device=device).eval()
    name = f"{source} ({hash_tensors(network.state_dict())[:10]})"
    return lambda frames: rebuilt_clip(network, frames, device), {"through the autoencoder": name}


def _of_model(
    draw: DrawOptions, model: str, reader: RecogniserReader, bank: Bank, which: tuple[int, int], *, distances: bool
) -> Report:
    """Args: ``which`` is how many clips, and their seed."""
    from sanakit.checkpoints.identity.card import VideoDefaults
    from sanakit.evaluation.drawing import drawing_clips_with
    from sanakit.evaluation.worlds.moving import Clips, motion_report
    from sanakit.evaluation.worlds.subject import subject_of

    pipeline = _load(draw, model)
    defaults = pipeline.bundle.card.defaults
    assert isinstance(defaults, VideoDefaults)
    subject = subject_of(bank, pipeline.bundle.words, readable=reader.words.readable)
    clips = Clips(
        bank=subject.bank,
        num=which[0],
        seed=which[1],
        size=defaults.base_size,
        num_frames=defaults.num_frames,
        fps=defaults.fps,
    )
    drawn: list[Frames] = []
    true: list[Frames] = []

    def keep(clip: Frames, painted: Frames) -> None:
        drawn.append(clip)
        true.append(painted)

    with draw.bar("drawing and reading", unit="clips") as on_progress:
        report = motion_report(
            drawing_clips_with(pipeline, **draw.chosen),
            reader,
            clips,
            settings=draw.facts(pipeline),
            keep=keep if distances else None,
            on_progress=on_progress,
        )
    return _with_distances(report, true, drawn, draw) if distances else report


def _with_distances(report: Report, true: list[Frames], drawn: list[Frames], draw: DrawOptions) -> Report:
    from dataclasses import replace

    from sanakit.evaluation.reports.clip_distances import clips_report
    from sanakit.evaluation.reports.clip_sets import clip_features, clips_in_memory
    from sanakit.scoring.extractors.load import load_extractor
    from sanakit.scoring.extractors.of_clips import FrameStatistics

    device = draw.start()
    of_frames = load_extractor(device=device)
    both = (of_frames, FrameStatistics(of_frames))
    features = []
    for name, clips in (("true", true), ("drawn", drawn)):
        with draw.bar(f"reading the {name} clips", unit="clips") as on_progress:
            features.append(
                clip_features(clips_in_memory(f"{name} clips", clips), *both, device=device, on_progress=on_progress)
            )
    found = clips_report(features[0], features[1], both, seed=report.seed)
    return replace(
        report,
        protocol=f"{report.protocol} {found.protocol}",
        measurements=(*report.measurements, *found.measurements),
        missing=found.missing,
        networks=(*report.networks, *found.networks),
        warnings=(*report.warnings, *found.warnings),
        inputs={**report.inputs, **found.inputs},
    )
