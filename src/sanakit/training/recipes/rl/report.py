"""The page of a run that learned from rewards: its curves, and held-out prompts before and after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.common.config import to_mapping
from sanakit.common.pixels import Picture
from sanakit.common.progress import OnProgress, no_progress
from sanakit.data.prompts import Prompt
from sanakit.evaluation.metrics.bootstrap import Estimate, estimate
from sanakit.evaluation.reports.clip_sheet import film_strip
from sanakit.evaluation.reports.picture_grid import picture_grid
from sanakit.models.transformers.linear_dit import LinearDiT
from sanakit.pipelines.request import GenerationRequest, VideoRequest
from sanakit.pipelines.text_to_image import TextToImagePipeline
from sanakit.scoring.rewards.panel import Panel
from sanakit.scoring.rewards.reward import Clip, Shown
from sanakit.training.loop import RunResult
from sanakit.training.recipes.rl.settings import RLSettings
from sanakit.training.rollouts.engine import shown_of
from sanakit.training.rollouts.prompts import Prompts
from sanakit.training.watching.report import draw_curves, read_log, spent_in_words, write_report

_CURVES = ("reward", "loss", "distance", "constant_groups", "clipped", "rank_agreement")
_SEED = 2026  # of the pictures of held-out prompts
_SHEET = 6


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """Prompts that are not learned from, and who looks at their pictures."""

    panel: Panel
    prompts: Prompts
    num: int
    on_progress: OnProgress = no_progress

    def score(self, images: Sequence[Shown], prompts: Sequence[Prompt]) -> dict[str, Estimate]:
        """Of each part, over the pictures whose prompts ask for it."""
        texts, known = [each.text for each in prompts], [each.known for each in prompts]
        looked = self.panel.look(images, texts, known, range(len(images)))
        found: dict[str, list[float]] = {}
        for marks, _ in looked:
            for part, score in marks.items():
                if score is not None:
                    found.setdefault(part, []).append(score)
        return {part: estimate(scores, seed=_SEED) for part, scores in found.items()}


def report_rl(
    bundle: ModelBundle,
    begun: Callable[[], LinearDiT | Any],
    recipe: RLSettings,
    folder: Path,
    *,
    run: RunResult,
    held_out: HeldOut,
) -> Path:
    """``report.md``, ``curves.png`` and ``sheet.png``, in whose rows prompts are drawn before and after.

    Args:
        bundle: the model after the run.
        begun: reads the transformer as it was before.
        recipe: of the run.
        folder: of the run.
        run: what it took.
        held_out: prompts and who looks at their pictures.
    """
    log = read_log(folder / "log.jsonl")
    keys = [key for key in _CURVES if any(key in line for line in log)]
    images = draw_curves({recipe.algorithm.type: log}, keys, folder) if keys else []
    prompts = held_out.prompts.first(held_out.num)
    shown = list(recipe.samples.prompts) or [prompt.text for prompt in prompts[:_SHEET]]
    drawers: dict[str, TextToImagePipeline] = {}
    if prompts or shown:
        models = {"before": replace(bundle, transformer=begun().eval()), "after": bundle}
        drawers = {when: TextToImagePipeline(model) for when, model in models.items()}
    scores, done = dict[str, dict[str, Estimate]](), 0
    for when, pipeline in drawers.items() if prompts else ():
        pictures = []
        for index, prompt in enumerate(prompts):
            pictures += _drawn(pipeline, [prompt.text], _SEED + index)
            held_out.on_progress(done := done + 1, 2 * len(prompts), "drawing and looking")
        scores[when] = held_out.score(pictures, prompts)
    if shown:
        rows = [picture for pipeline in drawers.values() for picture in _drawn(pipeline, shown, 0)]
        labels = [f"{when}: {prompt}" for when in drawers for prompt in shown]
        columns = 1 if isinstance(rows[0], Clip) else len(shown)
        picture_grid([_as_picture(each) for each in rows], labels, columns=columns).save(folder / "sheet.png")
        images.append("sheet.png")
    results = {
        "run": spent_in_words(run.steps, run.samples, run.seconds),
        "held-out prompts": len(prompts),
        **{f"{part}, {when}": _words(each) for when, own in scores.items() for part, each in own.items()},
        "began with": bundle.card.trained_from,
    }
    title = f"Learning from rewards: {bundle.card.name}"
    return write_report(folder, title=title, recipe=to_mapping(recipe), results=results, images=images)


def _drawn(pipeline: TextToImagePipeline, prompts: Sequence[str], seed: int) -> list[Shown]:
    kind = VideoRequest if pipeline.makes_clips else GenerationRequest
    return [shown_of(made) for made in pipeline([kind(prompt=prompt, seed=seed) for prompt in prompts]).images]


def _as_picture(made: Shown) -> Picture:
    return film_strip(made.frames) if isinstance(made, Clip) else np.asarray(made)


def _words(found: Estimate) -> str:
    return f"{found.mean:.4f} ({found.low:.4f} to {found.high:.4f}, {found.num_samples} prompts)"
