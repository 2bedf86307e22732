"""What can be scored here of a drawn prompt list: GenEval by a detector, DPG-Bench by a judge, MJHQ by FID and text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from sanakit.common.errors import RequestError
from sanakit.common.paths import pictures_below, shared_name
from sanakit.common.progress import OnProgress, no_progress
from sanakit.evaluation.benchmarks.entries import PromptEntry
from sanakit.evaluation.benchmarks.run import Drawn, pictures_in
from sanakit.evaluation.metrics.bootstrap import NUM_RESAMPLES, estimate_mean_of_groups
from sanakit.evaluation.metrics.frechet import too_few
from sanakit.evaluation.metrics.half_sampling import MIN_SAMPLES, NUM_HALVES
from sanakit.evaluation.reports.captioned import clip_score_report
from sanakit.evaluation.reports.distances import Distances, frechet_distances
from sanakit.evaluation.reports.picture_features import FeatureSet, extract_features
from sanakit.evaluation.reports.picture_sets import PictureSet, from_files, read_picture
from sanakit.evaluation.reports.report import Measurement, NetworkUse, Report, Setting, mean_of, measured, use_of
from sanakit.scoring.detecting.geneval_rules import ObjectDetector, judge_picture
from sanakit.scoring.extractors.extractor import FeatureExtractor
from sanakit.scoring.named import NamedNetwork
from sanakit.scoring.scorers import ImageTextScorer

Settings = Mapping[str, Setting]

GENEVAL_PROTOCOL = (
    "GenEval's rules on what the detector saw; the value of a prompt is the share of its pictures that are right, a "
    "task is the mean over its prompts, overall the mean over tasks. Prompts, not pictures, are drawn again."
)
DPG_PROTOCOL = (
    "DPG-Bench: the share of an item's questions answered yes, where a question counts only if all that it depends on "
    "count; a prompt is the mean over its pictures. All questions of the table are asked, where DPG-Bench's own script "
    "passes over the table's first row. Prompts are drawn again."
)
MJHQ_PROTOCOL = (
    "Fréchet distance between the drawn pictures and MJHQ-30K's own, of all and of each category, and the mean "
    "image-text score with the prompts."
)


class VisualJudge(NamedNetwork, Protocol):
    """Answers questions about pictures, such as a vision-language model."""

    def answers_yes(self, image: Image.Image, question: str) -> bool: ...


def geneval_report(
    drawn: Drawn, detector: ObjectDetector, *, settings: Settings, on_progress: OnProgress = no_progress
) -> Report:
    """The share of right pictures, overall and by task; ``details`` has the verdict on each picture with its reason."""
    by_tag: dict[str, list[float]] = {}
    lines: list[dict[str, Any]] = []
    seed = drawn.drawing.seed
    for done, (entry, files) in enumerate(drawn.by_prompt(), start=1):
        judged = [_judged(entry, file, detector) for file in files]
        by_tag.setdefault(entry.category, []).append(sum(line["correct"] for line in judged) / len(judged))
        lines += judged
        on_progress(done, len(drawn.files), "judging")
    how = f"percentile bootstrap over the prompts of each task, {NUM_RESAMPLES} resamples"
    total = measured("overall", estimate_mean_of_groups(by_tag, seed=seed), interval=how)
    return _report(
        drawn,
        settings,
        title=f"GenEval with {detector.name}",
        protocol=f"{GENEVAL_PROTOCOL} {detector.protocol}",
        measurements=(total, *(mean_of(tag, shares, seed=seed) for tag, shares in by_tag.items())),
        networks=(use_of(detector),),
        details={"pictures": lines},
    )


def dpg_report(
    drawn: Drawn, propositions: Mapping[str, Sequence[Mapping[str, str]]], judge: VisualJudge, *, settings: Settings
) -> Report:
    """DPG-Bench's score with any judge; ``propositions`` is `read_propositions` of ``dpg_bench.csv``.

    Raises:
        RequestError: an item has no questions.
    """
    scores: dict[str, float] = {}
    for entry, files in drawn.by_prompt():
        if entry.key not in propositions:
            raise RequestError(f"dpg_bench.csv has no questions for {entry.key}; give the table of these prompts")
        pictures = pictures_in(files[0], drawn.drawing.num_images)
        of_pictures = [score_item(picture, propositions[entry.key], judge) for picture in pictures]
        scores[entry.key] = sum(of_pictures) / len(pictures)
    return _report(
        drawn,
        settings,
        title=f"DPG-Bench with {judge.name}",
        protocol=DPG_PROTOCOL,
        measurements=(mean_of("overall", list(scores.values()), seed=drawn.drawing.seed),),
        networks=(use_of(judge),),
        details={"items": scores},
    )


def score_item(image: Image.Image, questions: Sequence[Mapping[str, str]], judge: VisualJudge) -> float:
    """The share of questions that count as yes: answered so, and no question that they depend on counts as no.

    Questions are gone through in their order, so a no is handed down to children of children as well.
    """
    counted: dict[str, bool] = {}
    for row in questions:
        parents = all(counted.get(parent, True) for parent in _parents(row["dependency"]))
        yes = judge.answers_yes(image, row["question_natural_language"])
        counted[row["proposition_id"].strip()] = yes and parents
    return sum(counted.values()) / len(counted)


@dataclass(frozen=True, kw_only=True, slots=True)
class Against:
    """What a Fréchet distance is measured to, and with what."""

    folder: Path  # of MJHQ-30K's pictures, in folders named after their categories
    extractor: FeatureExtractor
    num_halves: int = NUM_HALVES
    device: str = "cpu"


def mjhq_report(
    drawn: Drawn,
    *,
    settings: Settings,
    against: Against | None = None,
    scorer: ImageTextScorer | None = None,
    on_progress: OnProgress = no_progress,
) -> Report:
    """FID against MJHQ-30K's pictures, and an image-text score, each overall and by category.

    Raises:
        RequestError: nothing to measure with, or too few pictures.
    """
    pictures, seed = _pictures_of(drawn), drawn.drawing.seed
    names = [entry.category for entry, files in drawn.by_prompt() for _ in files]
    measurements: list[Measurement] = []
    networks: list[NetworkUse] = []
    inputs: dict[str, Any] = {}
    warnings: list[str] = []
    missing: dict[str, str] = {}
    if against is not None:
        real_set, real_names = _reference(against.folder)
        real, fake = (
            extract_features(each, against.extractor, device=against.device, on_progress=on_progress)
            for each in (real_set, pictures)
        )
        for found in _distances(real, fake, real_names, names, seed, against.num_halves):
            measurements += found.measurements
            missing |= found.missing
        inputs |= {"real": real.facts, "drawn": fake.facts}
        networks.append(use_of(against.extractor))
        fewest = min(len(real.features), len(fake.features))
        warnings += too_few(fewest, against.extractor.num_features)
    if scorer is not None:
        scored = clip_score_report(pictures, scorer, seed=seed, on_progress=on_progress)
        values = [line["score"] for line in scored.details["pictures"]]
        measurements.append(mean_of("text score", values, seed=seed))
        for category in sorted(set(names)):
            chosen = [value for value, name in zip(values, names, strict=True) if name == category]
            measurements.append(mean_of(f"text score of {category}", chosen, seed=seed))
        networks.append(use_of(scorer))
    if not measurements:
        raise RequestError("there is nothing to score MJHQ-30K with; give --reference, --scorer or both")
    return _report(
        drawn,
        settings,
        title="MJHQ-30K",
        protocol=MJHQ_PROTOCOL,
        measurements=tuple(measurements),
        networks=tuple(networks),
        inputs=inputs,
        warnings=tuple(warnings),
        missing=missing,
    )


def _judged(entry: PromptEntry, file: Path, detector: ObjectDetector) -> dict[str, Any]:
    verdict = judge_picture(read_picture(file), entry.metadata, detector)
    asked = {"key": entry.key, "tag": entry.category, "prompt": entry.prompt}
    return {"file": file.name, **asked, "correct": verdict.correct, "reason": verdict.reason}


def _pictures_of(drawn: Drawn) -> PictureSet:
    files = [file for group in drawn.files for file in group]
    prompts = tuple((entry.prompt,) for entry, group in drawn.by_prompt() for _ in group)
    return replace(from_files(files[0].parents[1], files), captions=prompts)


def _reference(folder: Path) -> tuple[PictureSet, list[str]]:
    """Published pictures in folders named after their categories, and the category of each."""
    files = pictures_below(folder) if folder.is_dir() else []
    if len(files) < MIN_SAMPLES:
        raise RequestError(f"--reference {folder} holds {len(files)} pictures; give MJHQ-30K's folder of categories")
    return from_files(folder, files), [file.parent.name for file in files]


def _distances(
    real: FeatureSet, fake: FeatureSet, real_names: list[str], fake_names: list[str], seed: int, num_halves: int
) -> Iterator[Distances]:
    for category in (None, *sorted(set(fake_names))):
        of_real, of_fake = (
            features.features[[index for index, name in enumerate(names) if category in (None, name)]]
            for features, names in ((real, real_names), (fake, fake_names))
        )
        fewest = min(len(of_real), len(of_fake))
        if category is not None and fewest < MIN_SAMPLES:
            continue  # a run of some prompts does not reach every category
        name = "FID" if category is None else f"FID of {category}"
        yield frechet_distances(name, of_real, of_fake, seed=seed, num_halves=num_halves)


def _parents(dependency: str) -> list[str]:
    """``0`` is nobody."""
    return [part.strip() for part in dependency.split(",") if part.strip() not in {"", "0"}]


def _report(drawn: Drawn, settings: Settings, *, inputs: Mapping[str, Any] | None = None, **found: Any) -> Report:
    """What was found, with the prompts and settings of the pictures beside it."""
    prompts = drawn.drawing.prompts
    facts = {"source": shared_name(prompts.source), "prompts": len(prompts.entries), "sha256": prompts.sha256}
    settings = {"pictures_per_prompt": drawn.drawing.num_images, **settings}
    return Report(seed=drawn.drawing.seed, inputs={"prompts": facts, **(inputs or {})}, settings=settings, **found)
