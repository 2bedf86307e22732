"""``sanakit eval prompts``"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from sanakit.cli.eval.options import DrawOptions, ExtractorOptions, show_report
from sanakit.cli.terminal.options import ModelOption
from sanakit.cli.terminal.output_place import check_folder
from sanakit.cli.terminal.size import parse_size
from sanakit.common.errors import RequestError
from sanakit.common.files import write_json

_ASSUMED_BYTES = 200_000  # of a picture, for the check of the disk
_NEEDED = {
    "geneval": "GenEval's own scorer, or --detector with a COCO detector",
    "dpg": "DPG-Bench's own scorer, or dpg_report with a judge",
    "mjhq": "--reference, --scorer or both",
}
_WRITTEN_FIRST = 100  # pictures for which there must be room at the start; a full disk later loses nothing


class SuiteName(StrEnum):
    """The benchmarks."""

    geneval = "geneval"
    dpg = "dpg"
    mjhq = "mjhq"


@dataclass(frozen=True, kw_only=True)
class ScoreOptions(ExtractorOptions):
    """What scores the pictures."""

    reference: Annotated[Path | None, typer.Option(help="MJHQ-30K's own pictures, for FID.")] = None
    scorer: Annotated[
        str | None, typer.Option(help="CLIP or SigLIP: the text score of MJHQ, the colours of GenEval.")
    ] = None
    detector: Annotated[
        str | None, typer.Option(help="For GenEval's own prompts: a transformers COCO detector, folder or hub id.")
    ] = None


def prompts(
    suite: Annotated[SuiteName, typer.Option(help="Which benchmark.")],
    prompts: Annotated[
        str, typer.Option(help="evaluation_metadata.jsonl, DPG's folder or dpg_bench.csv, meta_data.json; or starter.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder; what it holds already is kept.")],
    draw: DrawOptions,
    scoring: ScoreOptions,
    model: ModelOption = "starter",
    num_images: Annotated[int | None, typer.Option(min=1, help="Of each prompt; 4, 4 and 1 as published.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="The first so many prompts.")] = None,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="The model's own if not given.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Picture j of prompt i has the seed SEED + i * num_images + j.")] = 0,
    score: Annotated[bool, typer.Option("--score/--no-score", help="Also score what can be scored here.")] = True,
) -> None:
    """Draw the prompts of a benchmark in its own folder layout, go on where a run stopped, and score.

    OUTPUT/pictures is what the benchmark's own scorer is given. docs/evaluation.md says what is scored by what.
    """
    width, height = parse_size(size)
    encoder = draw.text_encoder or model
    hub = draw.trusting(encoder, scoring.extractor, scoring.scorer, scoring.detector)

    from sanakit.evaluation.benchmarks.entries import NUM_IMAGES, read_prompt_list

    listed = read_prompt_list(suite.value, prompts, seed=seed)
    listed = listed if limit is None else listed.first(limit)
    num_images = num_images or NUM_IMAGES[suite.value]
    total = len(listed.entries) * num_images
    check_folder(output, min(total, _WRITTEN_FIRST) * _ASSUMED_BYTES)
    if scoring.reference is not None and not scoring.reference.is_dir():
        raise RequestError(f"--reference {scoring.reference} is not a folder; give that of MJHQ-30K's pictures")

    from sanakit.evaluation.benchmarks.run import Drawing, draw_prompt_list
    from sanakit.evaluation.benchmarks.scoring import Networks

    wishes = [draw.wish(entry.prompt, width=width, height=height) for entry in listed.entries]
    pipeline = draw.load(wishes, model, hub=draw.hub.for_source(encoder))
    name, model_hash, drawn = pipeline.bundle.card.name, pipeline.bundle.model_hash, draw.settings(pipeline)
    settings: dict[str, Any] = {"num_inference_steps": drawn["steps"], "guidance_scale": drawn["guidance"]}
    settings |= {"solver": drawn["solver"], "width": width, "height": height}
    settings |= {"guidance_interval": draw.guidance_interval, "reuse": draw.reuse} if draw.spares else {}
    drawing = Drawing(prompts=listed, num_images=num_images, seed=seed, settings=settings)
    kept = f"the pictures in {output} are kept, and the same command goes on"
    with draw.bar("drawing", unit="pictures", kept=kept) as on_progress:
        run = draw_prompt_list(drawing, pipeline, model_hash, output, on_progress=on_progress)
    draw.tell(f"{run.num_drawn} pictures drawn, {run.num_kept} were there, in {output / 'pictures'}")
    facts = {"model": name, "model_hash": model_hash, "size": size, **drawn}
    source = {"suite": suite.value, "prompts": listed.source, "prompts_sha256": listed.sha256}
    counts = {"num_prompts": len(listed.entries), "num_images": num_images, "seed": seed}
    write_json(output / "run.json", source | counts | facts)
    if not score:
        return
    chosen = asdict(scoring)
    networks = Networks(num_halves=chosen.pop("halves"), **chosen, device=str(pipeline.device), hub=hub)
    with draw.bar("scoring", unit="steps") as on_progress:
        report = networks.score(run, settings=facts, on_progress=on_progress)
    if report is None:
        draw.tell(f"the pictures are not scored; that needs {_NEEDED[listed.suite]}")
        return
    show_report(report, output / "report.json", draw)
