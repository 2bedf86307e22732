"""The starter's score: prompts with a known truth, one picture each, read back by the scene detector."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

from sanakit.common.errors import ConfigError
from sanakit.common.pixels import Picture
from sanakit.common.progress import OnProgress, no_progress
from sanakit.evaluation.drawing import Draw
from sanakit.evaluation.metrics.bootstrap import Estimate, estimate
from sanakit.evaluation.reports.report import Report, Setting, measured
from sanakit.worlds.reading.scene_detector import load_scene_detector
from sanakit.worlds.reading.verdict import Check, judge
from sanakit.worlds.scenes.prompts import PromptKind, heldout_prompts, prompt_kind, seen_prompts
from sanakit.worlds.scenes.render import render
from sanakit.worlds.scenes.scene import Scene, Split
from sanakit.worlds.scenes.sprites import load_sprite_bank

PROTOCOL = (
    "Plain prompts of five kinds in turns (object, count, colour, position, background), one picture each, picture i "
    "with seed + i, none left out. An exact detector names what is in the picture; each kind is judged by its own "
    "question, 'all right' asks all questions of every picture and that nothing else is in it. Intervals: 95 %, "
    "percentile bootstrap over pictures. Ceiling: the same questions on ground-truth pictures of the same prompts."
)
RESIZE_RULE = "none for pictures of 128 x 128; larger ones are read after a box filter to that size"
_PROMPTS = {"heldout": heldout_prompts, "train": seen_prompts}


def evaluate_starter(
    draw: Draw,
    *,
    num_prompts: int,
    seed: int,
    settings: Mapping[str, Setting],
    batch_size: int = 8,
    on_progress: OnProgress = no_progress,
) -> Report:
    """Score a generator on ``num_prompts`` held-out prompts, and on as many of seen combinations.

    Args:
        settings: what made the pictures (model, steps, guidance, dtype, ...); written into the report as it is.

    Raises:
        ConfigError: fewer prompts than kinds, or ``draw`` returned another number of pictures.
    """
    kinds = get_args(PromptKind)
    if num_prompts < len(kinds):
        raise ConfigError(f"num_prompts={num_prompts} cannot cover the {len(kinds)} kinds; give at least {len(kinds)}")

    def judged(split: Split, done: int) -> _Judged:
        prompts = _PROMPTS[split](num_prompts, seed)

        def report(count: int) -> None:
            on_progress(done + count, 2 * num_prompts, "drawing and judging")

        pictures = _drawn(draw, [text for text, _ in prompts], seed, batch_size, report)
        return _judge(prompts, pictures, seed)

    heldout, seen = judged("heldout", 0), judged("train", num_prompts)
    rows = (("held-out", heldout.scores), ("seen", seen.scores), ("ceiling", heldout.ceilings))
    return Report(
        title="The starter's score",
        protocol=PROTOCOL,
        measurements=tuple(
            measured(f"{check}, {name}", scores[check]) for check in heldout.scores for name, scores in rows
        ),
        seed=seed,
        inputs={"prompts": {"held-out": num_prompts, "seen": num_prompts}, "resize rule": RESIZE_RULE},
        settings=settings,
        details={
            "num_prompts": num_prompts,
            "resize_rule": RESIZE_RULE,
            "heldout": asdict(heldout),
            "seen": asdict(seen),
        },
    )


def starter_json(report: Report) -> dict[str, Any]:
    """The report with its details at the top: scores and ceilings of each question, and every picture's answers."""
    facts = report.to_json()
    details: dict[str, Any] = facts.pop("details")
    return facts | details


@dataclass(frozen=True, kw_only=True, slots=True)
class _Judged:
    """Scores of the prompts of one split, each kind and "all right", with the detector's own beside them."""

    scores: dict[Check, Estimate]
    ceilings: dict[Check, Estimate]
    pictures: list[dict[str, Any]]


def _drawn(draw: Draw, prompts: list[str], seed: int, batch_size: int, report: Callable[[int], None]) -> list[Picture]:
    pictures: list[Picture] = []
    for start in range(0, len(prompts), batch_size):
        batch = prompts[start : start + batch_size]
        made = draw(batch, range(seed + start, seed + start + len(batch)))
        if len(made) != len(batch):
            raise ConfigError(f"generate returned {len(made)} pictures for {len(batch)} prompts; each prompt needs one")
        pictures += made
        report(len(pictures))
    return pictures


def _judge(prompts: list[tuple[str, Scene]], pictures: list[Picture], seed: int) -> _Judged:
    detector, bank, scenes = load_scene_detector(), load_sprite_bank(), [scene for _, scene in prompts]
    readings = [detector.detect(picture) for picture in pictures]
    truths = [detector.detect(render(scene, bank)) for scene in scenes]
    answers = [judge(scene, reading) for scene, reading in zip(scenes, readings, strict=True)]
    ceilings = [judge(scene, truth) for scene, truth in zip(scenes, truths, strict=True)]
    kinds = [prompt_kind(scene) for scene in scenes]
    lines = [
        {
            "prompt": text,
            "seed": seed + index,
            "kind": kinds[index],
            "answers": answers[index],
            "seen_objects": [f"{t.colour} {t.name}" if t.colour else t.name for t in readings[index].objects],
            "seen_background": readings[index].background,
        }
        for index, (text, _) in enumerate(prompts)
    ]
    return _Judged(scores=_scores(kinds, answers, seed), ceilings=_scores(kinds, ceilings, seed), pictures=lines)


def _scores(kinds: Sequence[PromptKind], answers: Sequence[Mapping[Check, bool]], seed: int) -> dict[Check, Estimate]:
    """Each kind by its own question, and all of them."""
    scores: dict[Check, Estimate] = {
        kind: estimate([answer[kind] for own, answer in zip(kinds, answers, strict=True) if own == kind], seed=seed)
        for kind in get_args(PromptKind)
    }
    scores["all right"] = estimate([answer["all right"] for answer in answers], seed=seed)
    return scores
