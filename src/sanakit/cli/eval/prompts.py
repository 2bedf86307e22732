"""``sanakit eval prompts``"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sanakit.cli.eval.distances import ExtractorOption, HalvesOption, ResizeOption, show_report
from sanakit.cli.terminal.console import tell
from sanakit.cli.terminal.options import (
    DeviceOption,
    DtypeOption,
    JsonOption,
    ModelOption,
    QuietOption,
    RevisionOption,
    VariantOption,
    resolve_device,
)
from sanakit.cli.terminal.output_place import check_folder
from sanakit.cli.terminal.size import parse_size
from sanakit.cli.terminal.working_dtypes import working_dtypes
from sanakit.common.errors import RequestError

if TYPE_CHECKING:
    from sanakit.evaluation.benchmarks.entries import PromptList
    from sanakit.evaluation.benchmarks.object_detectors import TransformersDetector
    from sanakit.evaluation.benchmarks.run import RunResult
    from sanakit.evaluation.reports.report import Report

_ASSUMED_BYTES = 200_000  # of a picture, for the check of the disk
_WRITTEN_FIRST = 100  # pictures for which there must be room at the start; a full disk later loses nothing


class SuiteName(StrEnum):
    """The benchmarks."""

    geneval = "geneval"
    dpg = "dpg"
    mjhq = "mjhq"


def prompts(
    suite: Annotated[SuiteName, typer.Option(help="Which benchmark.")],
    prompts: Annotated[
        str, typer.Option(help="evaluation_metadata.jsonl, DPG's folder or dpg_bench.csv, meta_data.json; or starter.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder; what it holds already is kept.")],
    model: ModelOption = "starter",
    variant: VariantOption = None,
    revision: RevisionOption = None,
    num_images: Annotated[int | None, typer.Option(min=1, help="Of each prompt; 4, 4 and 1 as published.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="The first so many prompts.")] = None,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="The model's own if not given.")] = None,
    steps: Annotated[int | None, typer.Option(help="The model's own if not given.")] = None,
    guidance_scale: Annotated[float | None, typer.Option(help="The model's own if not given.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Picture j of prompt i has the seed SEED + i * num_images + j.")] = 0,
    score: Annotated[bool, typer.Option("--score/--no-score", help="Also score what can be scored here.")] = True,
    reference: Annotated[Path | None, typer.Option(help="MJHQ-30K's own pictures, for FID.")] = None,
    scorer: Annotated[
        str | None, typer.Option(help="CLIP or SigLIP: the text score of MJHQ, the colours of GenEval.")
    ] = None,
    detector: Annotated[
        str | None, typer.Option(help="For GenEval's own prompts: a transformers COCO detector, folder or hub id.")
    ] = None,
    extractor: ExtractorOption = "efficientnet-lite0",
    resize: ResizeOption = None,
    halves: HalvesOption = 100,
    dtype: DtypeOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Draw the prompts of a benchmark in its own folder layout, go on where a run stopped, and score.

    OUTPUT/pictures is what the benchmark's own scorer is given. docs/evaluation.md says what is scored by what.
    """
    width, height = parse_size(size)

    from sanakit.evaluation.benchmarks.entries import NUM_IMAGES, read_prompt_list

    listed = read_prompt_list(suite.value, prompts, seed=seed)
    listed = listed if limit is None else listed.first(limit)
    num_images = num_images or NUM_IMAGES[suite.value]
    total = len(listed.entries) * num_images
    check_folder(output, min(total, _WRITTEN_FIRST) * _ASSUMED_BYTES)
    if reference is not None and not reference.is_dir():
        raise RequestError(f"--reference {reference} is not a folder; give that of MJHQ-30K's pictures")

    import sanakit
    from sanakit.cli.terminal.failures import Interrupted
    from sanakit.cli.terminal.picture_run import show_log
    from sanakit.cli.terminal.progress import ProgressBar
    from sanakit.evaluation.benchmarks.run import draw_prompt_list, write_run

    show_log(quiet=quiet)
    place = resolve_device(device)
    pipeline = sanakit.load(model, dtype=dtype, device=place, variant=variant, revision=revision)
    card, model_hash = pipeline.bundle.card, pipeline.bundle.model_hash
    settings = {
        "num_inference_steps": card.num_inference_steps if steps is None else steps,
        "guidance_scale": card.guidance_scale if guidance_scale is None else guidance_scale,
        "solver": card.solver, "width": width, "height": height,
    }  # fmt: skip
    facts: dict[str, Any] = {
        "model": card.name, "model_hash": model_hash, "steps": settings["num_inference_steps"],
        "guidance": settings["guidance_scale"], "solver": card.solver, "size": size,
        "dtype": working_dtypes(pipeline.bundle), "device": pipeline.device.type,
    }  # fmt: skip
    try:
        with ProgressBar("drawing", unit="pictures", quiet=quiet) as bar:
            run = draw_prompt_list(
                listed, pipeline, model_hash, output, num_images=num_images, seed=seed, settings=settings,
                on_progress=bar.update,
            )  # fmt: skip
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; the pictures in {output} are kept, and the same command goes on") from None
    tell(f"{run.num_drawn} pictures drawn, {run.num_kept} were there, in {output / 'pictures'}", quiet=quiet)
    write_run(
        output, {"suite": suite.value, "prompts": listed.source, "prompts_sha256": listed.sha256,
                 "num_prompts": len(listed.entries), "num_images": num_images, "seed": seed, **facts},
    )  # fmt: skip
    if not score:
        return
    report = _score(
        listed, run, num_images=num_images, seed=seed, facts=facts, reference=reference, scorer=scorer,
        detector=detector, extractor=extractor, resize=resize, halves=halves, device=place, quiet=quiet,
    )  # fmt: skip
    if report is not None:
        show_report(report, output / "report.json", as_json=as_json, quiet=quiet)


def _score(
    listed: PromptList, run: RunResult, *, num_images: int, seed: int, facts: dict[str, Any], reference: Path | None,
    scorer: str | None, detector: str | None, extractor: str, resize: str | None, halves: int, device: str, quiet: bool,
) -> Report | None:  # fmt: skip
    """What this machine can score; None, with a remark, where the benchmark's own scorer is needed."""
    from sanakit.cli.terminal.progress import ProgressBar
    from sanakit.evaluation.benchmarks.geneval_rules import StarterObjectDetector
    from sanakit.evaluation.benchmarks.score import geneval_report, mjhq_report
    from sanakit.scoring.extractors.load import load_extractor
    from sanakit.scoring.scorers import load_scorer

    with ProgressBar("scoring", unit="steps", quiet=quiet) as bar:
        if listed.suite == "geneval" and (detector is not None or listed.source == "starter"):
            reader = StarterObjectDetector() if detector is None else _detector(listed, detector, scorer, device)
            return geneval_report(
                listed, run, reader, num_images=num_images, seed=seed, settings=facts, on_progress=bar.update
            )  # fmt: skip
        if listed.suite == "mjhq" and (reference is not None or scorer is not None):
            return mjhq_report(
                listed, run, seed=seed, settings=facts, reference=reference,
                extractor=load_extractor(extractor, resize=resize, device=device) if reference is not None else None,
                scorer=load_scorer(scorer, device=device) if scorer is not None else None, num_halves=halves,
                num_images=num_images, device=device, on_progress=bar.update,
            )  # fmt: skip
    needed = {
        "geneval": "GenEval's own scorer, or --detector with a COCO detector",
        "dpg": "DPG-Bench's own scorer, or dpg_report with a judge",
        "mjhq": "--reference, --scorer or both",
    }[listed.suite]
    tell(f"the pictures are not scored; that needs {needed}", quiet=quiet)
    return None


def _detector(listed: PromptList, detector: str, scorer: str | None, device: str) -> TransformersDetector:
    """The detector, which must know every class that the prompts name."""
    from sanakit.evaluation.benchmarks.object_detectors import load_object_detector, require_classes
    from sanakit.scoring.scorers import load_scorer

    colours = load_scorer(scorer, device=device) if scorer is not None else None
    found = load_object_detector(detector, colour_scorer=colours, device=device)
    require_classes(found, {wanted["class"] for entry in listed.entries for wanted in entry.metadata["include"]})
    return found
