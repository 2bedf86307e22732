"""``sanakit eval``"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sanakit.cli.eval.distances import clip_score, fid, kid
from sanakit.cli.eval.prompts import prompts
from sanakit.cli.eval.reconstruction import reconstruction
from sanakit.cli.terminal.console import print_json, tell
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
from sanakit.cli.terminal.working_dtypes import working_dtypes

if TYPE_CHECKING:
    from sanakit.pipelines.text_to_image import TextToImagePipeline

eval_app = typer.Typer(no_args_is_help=True, help="Score pictures and models.")
for command in (fid, kid, clip_score, reconstruction, prompts):
    eval_app.command()(command)


@eval_app.callback()
def describe() -> None:
    """Score pictures and models: every number with its samples, seeds, resize rule and interval."""


@eval_app.command("starter")
def starter(
    model: ModelOption = "starter",
    variant: VariantOption = None,
    revision: RevisionOption = None,
    num_prompts: Annotated[
        int, typer.Option(help="Held-out prompts, and as many of combinations seen in training.")
    ] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Decides the prompts; picture i has the seed SEED + i.")] = 0,
    steps: Annotated[int | None, typer.Option(help="The model's own if not given.")] = None,
    guidance_scale: Annotated[float | None, typer.Option(help="The model's own if not given.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File of the whole report, JSON.")] = None,
    dtype: DtypeOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Score a starter on objects, counts, colours, positions and backgrounds, with bootstrap intervals.

    The pictures are read back by an exact detector, whose own score on true pictures stands beside.
    """
    if output is not None:
        check_folder(output.parent, 1_000_000)

    import sanakit
    from sanakit.cli.terminal.picture_run import show_log
    from sanakit.cli.terminal.progress import ProgressBar
    from sanakit.evaluation.benchmarks.starter import evaluate_starter, format_table

    show_log(quiet=quiet)
    pipeline = sanakit.load(
        model, dtype=dtype, device=resolve_device(device), variant=variant, revision=revision
    )  # fmt: skip
    card = pipeline.bundle.card
    steps = card.num_inference_steps if steps is None else steps
    guidance_scale = card.guidance_scale if guidance_scale is None else guidance_scale
    settings: dict[str, str | int | float | bool | None] = {
        "model": card.name, "hash": pipeline.bundle.model_hash[:10], "steps": steps, "guidance": guidance_scale,
        "solver": card.solver, "dtype": working_dtypes(pipeline.bundle), "device": pipeline.device.type,
    }  # fmt: skip
    with ProgressBar("drawing and judging", unit="pictures", quiet=quiet) as bar:
        report = evaluate_starter(
            drawing_with(pipeline, steps, guidance_scale),
            num_prompts=num_prompts,
            seed=seed,
            settings=settings,
            on_progress=lambda done, total: bar.update(done, total),
        )
    facts = report.to_json()
    if output is not None:
        write_report(output, facts)
        tell(f"the whole report is in {output}", quiet=quiet)
    if as_json:
        print_json(facts)
    else:
        print(format_table(report))


def drawing_with(
    pipeline: TextToImagePipeline, steps: int, guidance_scale: float
) -> Callable[[Sequence[str], Sequence[int]], list[Any]]:
    """A function from prompts and seeds to pictures ``(H, W, 3)`` uint8."""
    import numpy as np

    from sanakit.pipelines.request import GenerationRequest

    def draw(prompts: Sequence[str], seeds: Sequence[int]) -> list[Any]:
        requests = [
            GenerationRequest(prompt=prompt, seed=seed, num_inference_steps=steps, guidance_scale=guidance_scale)
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]
        return [np.asarray(picture.image) for picture in pipeline(requests).images]

    return draw


def write_report(path: Path, facts: dict[str, Any]) -> None:
    """JSON, whole or not at all."""
    from sanakit.common.files import write_json

    write_json(path, facts)
