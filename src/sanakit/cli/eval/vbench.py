"""``sanakit eval vbench``"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from sanakit.cli.eval.options import DrawOptions, show_report
from sanakit.cli.terminal.output_place import check_folder
from sanakit.cli.terminal.size import parse_size

_ASSUMED_BYTES, _WRITTEN_FIRST = 2_000_000, 10  # of a clip, and for how many there must be room at the start


@dataclass(frozen=True, kw_only=True)
class VBenchOptions:
    """VBench's networks."""

    dino: Annotated[str | None, typer.Option(help="DINO ViT-B/16 (facebook/dino-vitb16), for the subject.")] = None
    clip_b32: Annotated[str | None, typer.Option(help="CLIP ViT-B/32, for the background.")] = None
    clip_l14: Annotated[str | None, typer.Option(help="CLIP ViT-L/14, for aesthetics.")] = None
    aesthetic_head: Annotated[Path | None, typer.Option(help="LAION's sa_0_4_vit_l_14_linear.pth.")] = None


def vbench(
    prompts: Annotated[Path, typer.Argument(help="VBench_full_info.json.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder; what it holds already is kept.")],
    draw: DrawOptions,
    networks: VBenchOptions,
    model: Annotated[str, typer.Option("--model", "-m", metavar="SOURCE", help="A model of clips.")],
    dimension: Annotated[
        list[str] | None, typer.Option(help="Prompts of these only; scored in all that are scored here if not given.")
    ] = None,
    num: Annotated[int | None, typer.Option(min=1, help="Clips of a prompt; 5 or 25 as published.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="The first so many prompts.")] = None,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="The model's own if not given.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="The model's own if not given.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the first clip of the list; the others count on.")] = 0,
    score: Annotated[bool, typer.Option("--score/--no-score", help="Also score what can be scored here.")] = True,
) -> None:
    """Make the clips of VBench's prompts under its names, go on where a run stopped, and score some dimensions.

    OUTPUT/videos is what VBench's own scorer is given. docs/evaluation.md says what is scored here.
    """
    width, height = parse_size(size)

    from sanakit.evaluation.benchmarks.vbench import VIDEOS, draw_vbench, read_vbench
    from sanakit.evaluation.benchmarks.vbench_score import SCORED, VBenchNetworks, check_dimensions, vbench_report
    from sanakit.pipelines.request import VideoRequest

    wanted = dimension or []
    if score:
        check_dimensions(wanted)
    listed = read_vbench(prompts, num).of(wanted, limit)
    check_folder(output, min(listed.num_clips, _WRITTEN_FIRST) * _ASSUMED_BYTES)
    settings = {**draw.chosen, "width": width, "height": height, "num_frames": frames}
    pipeline = draw.load([VideoRequest(prompt="a clip", **settings)], model)
    chosen = {name: None if value is None else str(value) for name, value in asdict(networks).items()}
    known = VBenchNetworks(**chosen, device=str(pipeline.device), hub=draw.trusting(*chosen.values()))
    known.check()
    with draw.bar("drawing", unit="clips") as on_progress:
        drawn = draw_vbench(
            listed, pipeline, pipeline.bundle.model_hash, output, seed=seed, settings=settings, on_progress=on_progress
        )
    draw.tell(f"{drawn} clips drawn, {listed.num_clips - drawn} were there, in {output / VIDEOS}")
    if not score:
        return
    facts = {**draw.facts(pipeline), "size": size or "the model's own", "frames": frames or "the model's own"}
    with draw.bar("scoring", unit="dimensions") as on_progress:
        report = vbench_report(
            listed, output, wanted or SCORED, known, seed=seed, settings=facts, on_progress=on_progress
        )
    show_report(report, output / "report.json", draw)
