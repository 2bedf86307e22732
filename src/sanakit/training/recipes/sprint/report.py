"""The page of a distillation: its curves, and what one, two and four steps draw beside the teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.checkpoints.opening import load_bundle
from sanakit.common.config import json_values, to_mapping
from sanakit.common.progress import OnProgress
from sanakit.evaluation.drawing import Draw, drawing_with
from sanakit.evaluation.metrics.bootstrap import Estimate, estimate
from sanakit.evaluation.reports.picture_grid import picture_grid
from sanakit.features.configs import ScenesData
from sanakit.features.scenes import open_bank
from sanakit.pipelines.text_to_image import TextToImagePipeline
from sanakit.scoring.reading.load import load_reader
from sanakit.training.loop import RunResult
from sanakit.training.recipes.sprint.adaptation import TEACHER_FILE
from sanakit.training.recipes.sprint.settings import SprintSettings
from sanakit.training.watching.report import draw_curves, read_log, spent_in_words, write_report
from sanakit.worlds.reading.judge import judge
from sanakit.worlds.world_scenes import WorldScenes

STUDENT_STEPS = (1, 2, 4)
_CURVES = ("tangent", "consistency", "adversarial", "heads/loss", "heads/real", "heads/made")
_SHEET = 6  # prompts of a held-out sheet
_SEED = 2026  # of held-out prompts and of their pictures


@dataclass(frozen=True, slots=True)
class Drawn:
    """Who draws, in words, and how."""

    name: str
    draw: Draw


def report_sprint(
    bundle: ModelBundle, recipe: SprintSettings, folder: Path, *, run: RunResult, on_progress: OnProgress
) -> Path:
    """``report.md``, ``curves.png`` and ``sheet.png``, in whose rows each prompt is drawn by all.

    On scenes the share of ``report_prompts`` held-out prompts is told whose picture is all right to the reader that
    ships; other data has no such score.
    """
    log = read_log(folder / "log.jsonl")
    keys = [key for key in _CURVES if any(key in line for line in log)]
    images = draw_curves({"distillation": log}, keys, folder) if keys else []
    assert recipe.init is not None
    teacher = load_bundle(recipe.init)
    steps = teacher.card.defaults.num_inference_steps
    pipeline = TextToImagePipeline(bundle)
    drawers = [Drawn(f"teacher, {steps} steps", drawing_with(TextToImagePipeline(teacher)))]
    drawers += [Drawn(_steps(number), drawing_with(pipeline, num_inference_steps=number)) for number in STUDENT_STEPS]
    scores, prompts = dict[str, Estimate](), list(recipe.samples.prompts)
    if isinstance(recipe.data, ScenesData) and recipe.report_prompts:
        scenes = WorldScenes(open_bank(recipe.data.bank, recipe.data.names), "heldout", _SEED)
        scores = held_out_scores(drawers, scenes, recipe.report_prompts, on_progress=on_progress)
        prompts = prompts or [scenes.sample(index).caption for index in range(_SHEET)]
    if prompts:
        pictures = [picture for each in drawers for picture in each.draw(prompts, [0] * len(prompts))]
        labels = [f"{each.name}: {prompt}" for each in drawers for prompt in prompts]
        picture_grid(pictures, labels, columns=len(prompts)).save(folder / "sheet.png")
        images.append("sheet.png")
    results = {
        "run": spent_in_words(run.steps, run.samples, run.seconds),
        **_adapted(folder),
        **{key: f"{_last(log, key):.4f} (mean of the last lines)" for key in keys},
        **{f"right, {name}": _share(found) for name, found in scores.items()},
        "model": f"{folder / 'model'}, {bundle.card.defaults.base_size} px",
        "teacher": bundle.card.trained_from,
    }
    title = f"Distillation of {bundle.card.name}"
    return write_report(folder, title=title, recipe=to_mapping(recipe), results=results, images=images)


def held_out_scores(
    drawers: Sequence[Drawn], scenes: WorldScenes, num: int, *, on_progress: OnProgress
) -> dict[str, Estimate]:
    """The share of the first ``num`` scenes in whose picture, drawn from the caption, all is right and nothing else."""
    reader, samples = load_reader(), [scenes.sample(index) for index in range(num)]
    found, done = dict[str, Estimate](), 0
    for each in drawers:
        right = list[bool]()
        for index, sample in enumerate(samples):
            [picture] = each.draw([sample.caption], [_SEED + index])
            right.append(judge(sample.scene, reader.read(picture)).all_right)
            on_progress(done := done + 1, num * len(drawers), "drawing and reading")
        found[each.name] = estimate(right, seed=_SEED)
    return found


def _steps(number: int) -> str:
    return f"{number} step{'s' if number > 1 else ''}"


def _share(found: Estimate) -> str:
    return f"{found.mean:.1%} ({found.low:.1%} to {found.high:.1%}) of {found.num_samples} held-out prompts"


def _last(log: Sequence[Mapping[str, float]], key: str) -> float:
    return next(line[key] for line in reversed(log) if key in line)


def _adapted(folder: Path) -> dict[str, Any]:
    """How far the teacher is from what it was, if it was adapted."""
    path = folder / TEACHER_FILE
    if not path.exists():
        return {}
    return {"adapted teacher": f"{json_values(path.read_text())['velocity_error']:.2%} from its old velocities"}
