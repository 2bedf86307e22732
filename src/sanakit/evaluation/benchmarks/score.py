"""What can be scored here of a drawn prompt list: GenEval by a detector, DPG-Bench by a judge, MJHQ by FID and text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from sanakit.common.errors import RequestError
from sanakit.common.progress import OnProgress, no_progress
from sanakit.evaluation.benchmarks.entries import PromptEntry, PromptList
from sanakit.evaluation.benchmarks.geneval_rules import ObjectDetector, judge_picture
from sanakit.evaluation.benchmarks.run import RunResult, pictures_in
from sanakit.evaluation.metrics.bootstrap import NUM_RESAMPLES, estimate_mean_of_groups
from sanakit.evaluation.metrics.frechet import too_few
from sanakit.evaluation.metrics.half_sampling import MIN_SAMPLES, NUM_HALVES
from sanakit.evaluation.reports.captioned import clip_score_report
from sanakit.evaluation.reports.distances import frechet_measurements, frechet_with_interval
from sanakit.evaluation.reports.picture_features import FeatureSet, extract_features
from sanakit.evaluation.reports.picture_sets import PictureSet, picture_files, read_picture
from sanakit.evaluation.reports.report import (
    LEVEL,
    Measurement,
    NetworkUse,
    Report,
    Setting,
    mean_of,
    measured_with,
    use_of,
)
from sanakit.scoring.extractors.extractor import FeatureExtractor
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


class VisualJudge(Protocol):
    """Answers questions about pictures, such as a vision-language model."""

    @property
    def name(self) -> str: ...

    @property
    def weights_hash(self) -> str: ...

    @property
    def resize_rule(self) -> str: ...

    def answers_yes(self, image: Image.Image, question: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class _Judged:
    """The share of a prompt's pictures that are right, and a line for each picture."""

    share: float
    lines: list[dict[str, Any]]


def geneval_report(
    prompts: PromptList, run: RunResult, detector: ObjectDetector, *, num_images: int, seed: int, settings: Settings,
    on_progress: OnProgress = no_progress,
) -> Report:  # fmt: skip
    """The share of right pictures, overall and by task; ``details`` has the verdict on each picture with its reason."""
    by_tag: dict[str, list[float]] = {}
    lines: list[dict[str, Any]] = []
    for done, (entry, files) in enumerate(zip(prompts.entries, run.files, strict=True), start=1):
        judged = _geneval_prompt(entry, files, detector)
        by_tag.setdefault(entry.category, []).append(judged.share)
        lines += judged.lines
        on_progress(done, len(prompts.entries), "judging")
    overall = estimate_mean_of_groups(by_tag, seed=seed, level=LEVEL)
    total = Measurement(
        name="overall", value=overall.mean, low=overall.low, high=overall.high, num_samples=overall.num_samples,
        better="higher", interval=f"percentile bootstrap over the prompts of each task, {NUM_RESAMPLES} resamples",
    )  # fmt: skip
    return _report(
        f"GenEval with {detector.name}", f"{GENEVAL_PROTOCOL} {detector.protocol}", prompts, num_images=num_images,
        measurements=[total, *(mean_of(tag, shares, seed=seed) for tag, shares in by_tag.items())], seed=seed,
        settings=settings, networks=(use_of(detector),), details={"pictures": lines},
    )  # fmt: skip


def dpg_report(
    prompts: PromptList, run: RunResult, propositions: Mapping[str, Sequence[Mapping[str, str]]], judge: VisualJudge,
    *, num_images: int, seed: int, settings: Settings,
) -> Report:  # fmt: skip
    """DPG-Bench's score with any judge; ``propositions`` is `read_propositions` of ``dpg_bench.csv``.

    Raises:
        RequestError: an item has no questions.
    """
    scores = []
    for entry, files in zip(prompts.entries, run.files, strict=True):
        if entry.key not in propositions:
            raise RequestError(f"dpg_bench.csv has no questions for {entry.key}; give the table of these prompts")
        pictures = pictures_in(files[0], num_images)
        scores.append(sum(score_item(picture, propositions[entry.key], judge) for picture in pictures) / len(pictures))
    return _report(
        f"DPG-Bench with {judge.name}", DPG_PROTOCOL, prompts, num_images=num_images, seed=seed, settings=settings,
        measurements=[mean_of("overall", scores, seed=seed)], networks=(use_of(judge),),
        details={"items": dict(zip((entry.key for entry in prompts.entries), scores, strict=True))},
    )  # fmt: skip


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


def mjhq_report(
    prompts: PromptList, run: RunResult, *, seed: int, settings: Settings, reference: Path | None = None,
    extractor: FeatureExtractor | None = None, scorer: ImageTextScorer | None = None, num_halves: int = NUM_HALVES,
    num_images: int = 1, device: str = "cpu", on_progress: OnProgress = no_progress,
) -> Report:  # fmt: skip
    """FID against a folder of MJHQ-30K's pictures, and an image-text score, each overall and by category.

    Raises:
        RequestError: nothing to measure with, or too few pictures.
    """
    pictures = _drawn(prompts, run)
    measurements: list[Measurement] = []
    networks: list[NetworkUse] = []
    inputs: dict[str, Any] = {}
    warnings: list[str] = []
    names = [entry.category for entry, files in zip(prompts.entries, run.files, strict=True) for _ in files]
    categories = sorted(set(names))
    if reference is not None and extractor is not None:
        real_set, real_names = _reference(reference)
        real = extract_features(real_set, extractor, device=device, on_progress=on_progress)
        fake = extract_features(pictures, extractor, device=device, on_progress=on_progress)
        measurements += _distances(real, fake, real_names, names, categories, seed, num_halves)
        inputs |= {"real": real.facts, "drawn": fake.facts}
        networks.append(use_of(extractor))
        fewest = min(len(real.features), len(fake.features))
        warnings += [too_few(fewest, extractor.num_features)] if fewest < extractor.num_features else []
    if scorer is not None:
        scored = clip_score_report(pictures, scorer, seed=seed, on_progress=on_progress)
        values = [line["score"] for line in scored.details["pictures"]]
        measurements.append(mean_of("text score", values, seed=seed))
        for category in categories:
            chosen = [value for value, name in zip(values, names, strict=True) if name == category]
            measurements.append(mean_of(f"text score of {category}", chosen, seed=seed))
        networks.append(use_of(scorer))
    if not measurements:
        raise RequestError("there is nothing to score MJHQ-30K with; give --reference, --scorer or both")
    return _report(
        "MJHQ-30K", MJHQ_PROTOCOL, prompts, num_images=num_images, measurements=measurements, seed=seed,
        settings=settings, networks=tuple(networks), details={}, inputs=inputs, warnings=tuple(warnings),
    )  # fmt: skip


def _geneval_prompt(entry: PromptEntry, files: Sequence[Path], detector: ObjectDetector) -> _Judged:
    lines = []
    for file in files:
        verdict = judge_picture(read_picture(file), entry.metadata, detector)
        lines.append(
            {"file": file.name, "key": entry.key, "tag": entry.category, "prompt": entry.prompt,
             "correct": verdict.correct, "reason": verdict.reason}
        )  # fmt: skip
    return _Judged(sum(bool(line["correct"]) for line in lines) / len(lines), lines)


def _drawn(prompts: PromptList, run: RunResult) -> PictureSet:
    files = [file for group in run.files for file in group]
    texts = [entry.prompt for entry, group in zip(prompts.entries, run.files, strict=True) for _ in group]
    return PictureSet(
        path=files[0].parents[1], keys=tuple(f"{file.parent.name}/{file.name}" for file in files),
        read=lambda index: read_picture(files[index]), captions=tuple((text,) for text in texts),
    )  # fmt: skip


def _reference(folder: Path) -> tuple[PictureSet, list[str]]:
    """Published pictures in folders named after their categories, and the category of each."""
    files = picture_files(folder) if folder.is_dir() else []
    if len(files) < MIN_SAMPLES:
        raise RequestError(f"--reference {folder} holds {len(files)} pictures; give MJHQ-30K's folder of categories")
    pictures = PictureSet(
        path=folder, keys=tuple(file.relative_to(folder).as_posix() for file in files),
        read=lambda index: read_picture(files[index]), captions=((),) * len(files),
    )  # fmt: skip
    return pictures, [file.parent.name for file in files]


def _distances(
    real: FeatureSet, fake: FeatureSet, real_names: list[str], fake_names: list[str], categories: list[str], seed: int,
    num_halves: int,
) -> list[Measurement]:  # fmt: skip
    found = []
    for category in (None, *categories):
        of_real, of_fake = (
            features.features[[index for index, name in enumerate(names) if category in (None, name)]]
            for features, names in ((real, real_names), (fake, fake_names))
        )
        fewest = min(len(of_real), len(of_fake))
        if category is not None and fewest < MIN_SAMPLES:
            continue  # a run of some prompts does not reach every category
        measured = frechet_with_interval(of_real, of_fake, seed=seed, num_halves=num_halves)
        name = "FID" if category is None else f"FID of {category}"
        found += list(frechet_measurements(name, measured, fewest))
    return found


def _parents(dependency: str) -> list[str]:
    """``0`` is nobody."""
    return [part.strip() for part in dependency.split(",") if part.strip() not in {"", "0"}]


def _report(
    title: str, protocol: str, prompts: PromptList, *, num_images: int, measurements: Sequence[Measurement], seed: int,
    settings: Settings, networks: tuple[NetworkUse, ...], details: Mapping[str, Any],
    inputs: Mapping[str, Any] | None = None, warnings: tuple[str, ...] = (),
) -> Report:  # fmt: skip
    listed = {"source": prompts.source, "prompts": len(prompts.entries), "sha256": prompts.sha256}
    return Report(
        title=title, protocol=protocol, measurements=tuple(measurements), seed=seed, networks=networks, details=details,
        inputs={"prompts": listed, **(inputs or {})}, settings={"pictures_per_prompt": num_images, **settings},
        warnings=warnings, versions=measured_with(),
    )  # fmt: skip
