"""``sanakit eval``"""

from __future__ import annotations

from typing import Annotated

import typer

from sanakit.cli.eval.distances import clip_score, fid, kid
from sanakit.cli.eval.options import DrawOptions, ReportOption, check_report, show_report
from sanakit.cli.eval.prompts import prompts
from sanakit.cli.eval.read import read
from sanakit.cli.eval.reconstruction import reconstruction
from sanakit.cli.terminal.options import ModelOption, add_commands, gathered

eval_app = typer.Typer(no_args_is_help=True, help="Score pictures and models.")
add_commands(eval_app, fid, kid, clip_score, reconstruction, prompts, read)


@eval_app.command("starter")
@gathered
def starter(
    draw: DrawOptions,
    model: ModelOption = "starter",
    num_prompts: Annotated[
        int, typer.Option(help="Held-out prompts, and as many of combinations seen in training.")
    ] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Decides the prompts; picture i has the seed SEED + i.")] = 0,
    output: ReportOption = None,
) -> None:
    """Score a starter on objects, counts, colours, positions and backgrounds, with bootstrap intervals.

    The pictures are read back by an exact detector, whose own score on true pictures stands beside.
    """
    check_report(output)

    from sanakit.evaluation.benchmarks.starter import evaluate_starter, starter_json
    from sanakit.evaluation.drawing import drawing_with

    pipeline = draw.load(model)
    settings = draw.settings(pipeline)
    with draw.bar("drawing and judging", unit="pictures") as on_progress:
        report = evaluate_starter(
            drawing_with(pipeline, num_inference_steps=settings["steps"], guidance_scale=settings["guidance"]),
            num_prompts=num_prompts,
            seed=seed,
            settings={"model": pipeline.bundle.card.name, "hash": pipeline.bundle.model_hash[:10], **settings},
            on_progress=on_progress,
        )
    show_report(report, output, draw, facts=starter_json(report))
