"""What the best of many gains: pictures of held-out prompts, chosen by judges and read by another."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, zip_longest
from typing import Any

import numpy as np
from PIL import Image

from sanakit.common.errors import RequestError
from sanakit.common.progress import OnProgress, no_progress
from sanakit.evaluation.reports.report import Report, Setting, mean_of, use_of
from sanakit.evaluation.worlds.prompt_sets import DEFAULT, PromptSets
from sanakit.evaluation.worlds.questions import Asked, Question
from sanakit.evaluation.worlds.subject import Subject
from sanakit.pipelines.best_of.judging import Judge, name_of
from sanakit.pipelines.best_of.run import best_of
from sanakit.pipelines.best_of.settings import BestOf
from sanakit.pipelines.events import Event, StepDone
from sanakit.pipelines.text_to_image import TextToImagePipeline
from sanakit.scoring.named import NamedReader
from sanakit.worlds.reading.judge import judge
from sanakit.worlds.scenes.description import Scene

PROTOCOL = (
    "Generated pictures of words that training never shows together, and of counts; all right if the reader sees all "
    "that is asked for and nothing else. random seed: the mean of the candidates; gain: chosen above that; best "
    "possible: prompts with a right candidate; lost: chosen among all above chosen with dropping. Intervals: 95 %, "
    "percentile bootstrap over prompts."
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Trial:
    """What is tried: ``settings`` are tried as they are and, where they drop early, without that too."""

    pipeline: TextToImagePipeline
    judges: Sequence[Judge]
    reader: NamedReader
    settings: BestOf
    request: Mapping[str, Any] = field(default_factory=dict)  # fields of ``GenerationRequest``, the seed among them


@dataclass(slots=True)
class _Spent:
    """Steps of all candidates, and seconds of the processor without those of the reader."""

    steps: int = 0
    seconds: float = 0.0


def heldout_prompts(subject: Subject, num: int, *, seed: int) -> list[Asked]:
    """Prompts of words that training never shows together, and counts: of each row that ``eval starter`` asks one in
    turn.

    Raises:
        RequestError: there are none.
    """
    sets = PromptSets(subject, replace(DEFAULT, words=num, pairs=num, counts=num), seed)
    rows = {
        row.name: row.asked
        for row in (*sets.new_pairings(), *sets.relations(), *sets.counts())
        if isinstance(row, Question) and "first 50" not in row.name
    }
    turns = (asked for turn in zip_longest(*rows.values()) for asked in turn if asked is not None)
    if not (found := list(islice(turns, num))):
        raise RequestError(f"the bank {subject.bank.name!r} has no held-out pairing of words that the model knows")
    return found


def best_of_report(
    trial: Trial,
    prompts: Sequence[Asked],
    *,
    seed: int,
    settings: Mapping[str, Setting],
    on_progress: OnProgress = no_progress,
) -> tuple[Report, dict[str, float]]:
    """The report, without a clock, and beside it the seconds of the processor by what was tried.

    Args:
        prompts: each with a scene that fulfils it.
        settings: what made the pictures; written into the report as it is.
    """
    whole, early = _Spent(), _Spent()
    right, chosen, kept = list[list[bool]](), list[bool](), list[bool]()
    for done, asked in enumerate(prompts, start=1):
        answers, number = _tried(trial, replace(trial.settings, dropping=()), asked, whole)
        right.append(answers)
        chosen.append(answers[number])
        if trial.settings.dropping:
            kept.append(answers[_tried(trial, trial.settings, asked, early)[1]])
        on_progress(done, len(prompts), "drawing and judging")
    random, num = [float(np.mean(answers)) for answers in right], trial.settings.num
    measurements = [
        mean_of("random seed", random, seed=seed),
        mean_of("chosen", chosen, seed=seed),
        mean_of("gain", [float(c) - r for c, r in zip(chosen, random, strict=True)], seed=seed),
        mean_of("best possible", [any(answers) for answers in right], seed=seed),
    ]
    facts: dict[str, Setting] = {"candidates": num, "judges": ", ".join(map(name_of, trial.judges)), **settings}
    if kept:
        lost = [float(c) - float(k) for c, k in zip(chosen, kept, strict=True)]
        measurements += [mean_of("chosen, dropping early", kept, seed=seed), mean_of("lost", lost, seed=seed)]
        facts |= {"dropping": str(trial.settings.dropping), "share of the steps": round(early.steps / whole.steps, 4)}
    report = Report(
        title=f"The best of {num} pictures",
        protocol=PROTOCOL,
        measurements=tuple(measurements),
        seed=seed,
        inputs={"prompts": {"held-out": len(prompts)}},
        settings=facts,
        networks=(use_of(trial.reader),),
        details={"prompts": [{"prompt": each.prompt, "right": r} for each, r in zip(prompts, right, strict=True)]},
    )
    return report, {"all": whole.seconds} | ({"dropping early": early.seconds} if kept else {})


def _tried(trial: Trial, settings: BestOf, asked: Asked, spent: _Spent) -> tuple[list[bool], int]:
    """Whether the last looked at candidates were right, in turn, and the number of the winner."""
    witness = _Witness(trial, asked.truth)

    def on_event(event: Event) -> None:
        spent.steps += isinstance(event, StepDone)

    start = time.process_time()
    judges: list[Judge] = [witness, *trial.judges[1:]]
    (winner,) = best_of(trial.pipeline, asked.prompt, settings, judges, on_event=on_event, **trial.request).images
    spent.seconds += time.process_time() - start - witness.seconds
    return witness.right, winner.record.request.seed - int(trial.request.get("seed", 0))


class _Witness:
    """The first judge, beside whom the reader looks too."""

    def __init__(self, trial: Trial, scene: Scene) -> None:
        self.judge, self.reader, self.scene = trial.judges[0], trial.reader, scene
        self.right: list[bool] = []
        self.seconds = 0.0

    def __call__(self, images: Sequence[Image.Image], texts: Sequence[str]) -> Any:
        start = time.process_time()
        self.right += [judge(self.scene, self.reader.read(np.asarray(image))).all_right for image in images]
        self.seconds += time.process_time() - start
        return self.judge(images, texts)
