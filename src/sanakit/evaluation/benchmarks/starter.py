"""The starter's score: prompts with a known truth, one picture each, read back by the scene detector."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, get_args

from sanakit.common.errors import ConfigError
from sanakit.common.pixels import Picture
from sanakit.common.progress import OnProgress, no_progress
from sanakit.evaluation.drawing import Draw
from sanakit.evaluation.metrics.bootstrap import Estimate, estimate
from sanakit.evaluation.reports.report import Setting, measured_with
from sanakit.worlds.reading.scene_detector import DetectedScene, SceneDetector, load_scene_detector
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


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedPicture:
    """One picture: what was asked, and what the detector made of it ("red apple", ...)."""

    prompt: str
    seed: int
    kind: PromptKind
    answers: dict[Check, bool]
    seen_objects: tuple[str, ...]
    seen_background: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitReport:
    """Scores of the prompts of one split, each kind and "all right", with the detector's own beside them."""

    scores: dict[Check, Estimate]
    ceilings: dict[Check, Estimate]
    pictures: tuple[JudgedPicture, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class StarterReport:
    """Scores of combinations that training held out, and of such that it showed.

    ``settings`` made the pictures, ``resize_rule`` is what was done to them before they were read, ``versions`` are of
    the packages that did all this.
    """

    protocol: str
    num_prompts: int  # of each split
    seed: int
    settings: dict[str, Setting]
    heldout: SplitReport
    seen: SplitReport
    resize_rule: str = RESIZE_RULE
    versions: Mapping[str, str] = field(default_factory=measured_with)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def evaluate_starter(
    generate: Draw,
    *,
    num_prompts: int,
    seed: int,
    settings: Mapping[str, Setting],
    batch_size: int = 8,
    detector: SceneDetector | None = None,
    on_progress: OnProgress = no_progress,
) -> StarterReport:
    """Score a generator on ``num_prompts`` held-out prompts, and on as many of seen combinations.

    Args:
        generate: makes one square uint8 picture for each prompt, from the seed at the same place.
        settings: what made the pictures (model, steps, guidance, dtype, ...); written into the report as it is.
        detector: reads the pictures; by default the one for the shipped sprites.

    Raises:
        ConfigError: fewer prompts than kinds, or ``generate`` returned another number of pictures.
    """
    kinds = get_args(PromptKind)
    if num_prompts < len(kinds):
        raise ConfigError(f"num_prompts={num_prompts} cannot cover the {len(kinds)} kinds; give at least {len(kinds)}")
    detector = detector or load_scene_detector()

    def split_report(split: Split, done: int) -> SplitReport:
        prompts = _PROMPTS[split](num_prompts, seed)

        def report(count: int) -> None:
            on_progress(done + count, 2 * num_prompts, "drawing")

        pictures = _generated(generate, [text for text, _ in prompts], seed, batch_size, report)
        return _judged_split(prompts, pictures, seed, detector)

    return StarterReport(
        protocol=PROTOCOL,
        num_prompts=num_prompts,
        seed=seed,
        settings=dict(settings),
        heldout=split_report("heldout", 0),
        seen=split_report("train", num_prompts),
    )


def format_table(report: StarterReport) -> str:
    """The scores for a terminal: one line per question, held-out beside seen, and the detector's ceiling."""
    settings = ", ".join(f"{key} {value}" for key, value in report.settings.items())
    lines = [
        f"{report.num_prompts} held-out and {report.num_prompts} seen prompts, seed {report.seed}; {settings}",
        f"{'':<11} {'held-out':<22} {'seen':<22} {'pictures':>8} {'ceiling':>8}",
    ]
    for check, score in report.heldout.scores.items():
        seen, ceiling = report.seen.scores[check], report.heldout.ceilings[check]
        lines.append(
            f"{check:<11} {_percent(score):<22} {_percent(seen):<22} {score.num_samples:>8} {ceiling.mean:>8.1%}"
        )
    lines.append("[95 % bootstrap interval]; ceiling: the detector on ground-truth pictures of the held-out prompts")
    lines.append(f"resize rule: {report.resize_rule}")
    lines.append(", ".join(f"{name} {number}" for name, number in report.versions.items()))
    return "\n".join(lines)


def _generated(
    generate: Draw, prompts: list[str], seed: int, batch_size: int, report: Callable[[int], None]
) -> list[Picture]:
    pictures: list[Picture] = []
    for start in range(0, len(prompts), batch_size):
        batch = prompts[start : start + batch_size]
        made = generate(batch, range(seed + start, seed + start + len(batch)))
        if len(made) != len(batch):
            raise ConfigError(f"generate returned {len(made)} pictures for {len(batch)} prompts; each prompt needs one")
        pictures += made
        report(len(pictures))
    return pictures


def _judged_split(
    prompts: list[tuple[str, Scene]], pictures: list[Picture], seed: int, detector: SceneDetector
) -> SplitReport:
    bank = load_sprite_bank()
    readings = [detector.detect(picture) for picture in pictures]
    truths = [detector.detect(render(scene, bank)) for _, scene in prompts]
    judged = tuple(
        _judged(text, seed + index, scene, reading)
        for index, ((text, scene), reading) in enumerate(zip(prompts, readings, strict=True))
    )
    ceilings = [_judged(text, seed, scene, truth) for (text, scene), truth in zip(prompts, truths, strict=True)]
    return SplitReport(scores=_scores(judged, seed), ceilings=_scores(ceilings, seed), pictures=judged)


def _judged(prompt: str, seed: int, scene: Scene, reading: DetectedScene) -> JudgedPicture:
    return JudgedPicture(
        prompt=prompt,
        seed=seed,
        kind=prompt_kind(scene),
        answers=judge(scene, reading),
        seen_objects=tuple(f"{thing.colour} {thing.name}" if thing.colour else thing.name for thing in reading.objects),
        seen_background=reading.background,
    )


def _scores(pictures: Sequence[JudgedPicture], seed: int) -> dict[Check, Estimate]:
    scores: dict[Check, Estimate] = {
        kind: estimate([picture.answers[kind] for picture in pictures if picture.kind == kind], seed=seed)
        for kind in get_args(PromptKind)
    }
    scores["all right"] = estimate([picture.answers["all right"] for picture in pictures], seed=seed)
    return scores


def _percent(score: Estimate) -> str:
    return f"{score.mean:6.1%} [{score.low:.1%}, {score.high:.1%}]"
