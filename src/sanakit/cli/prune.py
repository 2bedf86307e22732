"""``sanakit prune``"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from sanakit.cli.terminal.console import print_json, say, show_table
from sanakit.cli.terminal.options import ModelArgument, ReplaceOption, RunOptions
from sanakit.cli.terminal.prompts import texts_of


def prune(
    model: ModelArgument,
    target: Annotated[Path, typer.Argument(metavar="OUT", help="New model folder.")],
    num_layers: Annotated[int, typer.Option(help="Blocks that stay.")],
    run: RunOptions,
    prompts: Annotated[
        Path | None, typer.Option(help="UTF-8, one prompt a line; the starter's sheet if not given.")
    ] = None,
    keep_first: Annotated[int, typer.Option(help="The first blocks that stay whatever their importance.")] = 0,
    keep_last: Annotated[int, typer.Option(help="The last blocks that stay whatever their importance.")] = 0,
    steps: Annotated[int | None, typer.Option(help="Of the solver; the model's own if not given.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The picture of prompt i has the seed SEED + i.")] = 0,
    force: ReplaceOption = False,
) -> None:
    """Leave out the blocks that change least, as measured while the model draws; then train it a little.

    A block's importance is 1 - cos of its tokens before and after it. Train with a recipe that says: init: OUT
    """
    texts = read_calibration_prompts(prompts)

    from sanakit.checkpoints.editing.convert import check_target
    from sanakit.checkpoints.editing.derived_model import read_base, write_derived
    from sanakit.checkpoints.editing.growth import keep_blocks
    from sanakit.checkpoints.editing.pruning import blocks_to_keep

    check_target(target, force=force)
    parts, base = read_base(model, hub=run.hub)
    limits = {"keep_first": keep_first, "keep_last": keep_last}
    blocks_to_keep([0.0] * base.config.num_layers, num_layers, **limits)  # refuses what cannot be, before the drawing
    importance = draw_and_measure(run, model, texts, steps=steps, seed=seed)
    kept = blocks_to_keep(importance, num_layers, **limits)
    pruned = keep_blocks(base.tensors, base.config, kept)
    rounded = [round(value, 6) for value in importance]
    record = {"importance": rounded, **limits, "prompts": texts, "seed": seed, "num_inference_steps": steps}
    write_derived(parts, base, pruned, target, record={"pruning": record}, force=force)
    if run.as_json:
        print_json({"target": str(target), "importance": list(importance), "kept": list(kept)})
        return
    if not run.quiet:
        _show(importance, kept)
    say(target)
    left = f"{len(kept)} of {len(importance)} blocks are left"
    run.tell(f"{left}; train it a little, with a recipe's init: {target}")


def read_calibration_prompts(path: Path | None) -> list[str]:
    """Those of the file, else the prompts of the starter's own sheet."""
    if path is None:
        from sanakit.worlds.telling.sheet_prompts import SHEET_PROMPTS

        return list(SHEET_PROMPTS)
    return texts_of(path, "--prompts")


def draw_and_measure(
    run: RunOptions, model: str, texts: Sequence[str], *, steps: int | None, seed: int
) -> tuple[float, ...]:
    """Sample a latent of every prompt with the model's own guidance; the importance of each block."""
    from sanakit.cli.terminal.picture_run import PictureRun
    from sanakit.common.seeds import image_seed
    from sanakit.pipelines.measuring.block_importance import measure_block_importance
    from sanakit.pipelines.request import GenerationRequest

    requests = [
        GenerationRequest(prompt=text, seed=image_seed(seed, index), num_inference_steps=steps)
        for index, text in enumerate(texts)
    ]
    watch = PictureRun(num_images=len(requests), quiet=run.quiet)
    with watch.bar() as on_event:
        return measure_block_importance(run.load(requests, model), requests, on_event=on_event).values


def _show(importance: Sequence[float], kept: Sequence[int]) -> None:
    """One line per block."""
    rows = [
        (str(index), f"{value:.4f}", "stays" if index in kept else "left out") for index, value in enumerate(importance)
    ]
    show_table(("block", "importance", ""), rows)
