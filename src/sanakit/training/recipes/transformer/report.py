"""The page of a transformer's run: its curve, a sheet of pictures, and what was trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.checkpoints.identity.card import VideoDefaults
from sanakit.evaluation.drawing import drawing_clips_with
from sanakit.evaluation.reports.clip_sheet import clip_sheet
from sanakit.evaluation.reports.picture_grid import picture_grid
from sanakit.pipelines.text_to_image import TextToImagePipeline
from sanakit.training.loop import RunResult
from sanakit.training.watching.caption_test import ALL_KINDS
from sanakit.training.watching.report import draw_curves, read_log, spent_in_words, write_report


def _made(recipe: Mapping[str, Any]) -> str:
    """The folder that a run leaves."""
    return "controlnet" if recipe.get("control") else "adapter" if recipe.get("adapter") else "model"


def report_transformer(
    bundle: ModelBundle,
    recipe: Mapping[str, Any],
    folder: Path,
    *,
    prompts: Sequence[str],
    run: RunResult,
    tested: Mapping[str, float],
) -> Path:
    """Curves, a sheet of ``prompts`` at seed 0 if there are any, and the page that shows them.

    Args:
        tested: the model on right captions against wrong ones, as the log has it.
        run: what was done; the log tells it only as far as its last line.
    """
    log = read_log(folder / "log.jsonl")
    keys = ("loss", ALL_KINDS) if any(ALL_KINDS in line for line in log) else ("loss",)
    images = draw_curves({"flow matching": log}, keys, folder)
    if prompts:
        pipeline = TextToImagePipeline(bundle)
        if isinstance(bundle.card.defaults, VideoDefaults):
            clip_sheet(drawing_clips_with(pipeline), prompts, 0).save(folder / "sheet.png")
        else:
            _sheet(pipeline, prompts).save(folder / "sheet.png")
        images.append("sheet.png")
    defaults, made = bundle.card.defaults, _made(recipe)
    results = {
        "run": spent_in_words(run.steps, run.samples, run.seconds),
        "loss": f"{log[-1]['loss']:.4f} (mean of the last lines)" if log else "-",
        **{name.replace("_", " "): f"{value:.0%} of scenes" for name, value in tested.items()},
        made: f"{folder / made}, {defaults.base_size} px, flow shift {defaults.flow_shift:g}",
        **({"trained from": bundle.card.trained_from} if bundle.card.trained_from else {}),
    }
    return write_report(folder, title=f"Training of {bundle.card.name}", recipe=recipe, results=results, images=images)


def _sheet(pipeline: TextToImagePipeline, prompts: Sequence[str]) -> Image.Image:
    return picture_grid([np.asarray(pipeline(prompt, seed=0).images[0].picture) for prompt in prompts], prompts)
