"""Whether a picture shows the things that its prompt asks for, as GenEval's lists say them, by a detector.

Source: GenEval, arXiv:2310.11513; its rules by degrees, as the reward of Flow-GRPO, arXiv:2505.05470, has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import torch
from PIL import Image

from sanakit.checkpoints.files.hub import HubOptions
from sanakit.scoring.detecting.geneval_rules import ObjectDetector, SeenObject, are_placed, judge_seen, look
from sanakit.scoring.detecting.object_detectors import TransformersDetector, load_object_detector, require_classes
from sanakit.scoring.rewards.reward import Metadata, Rewarded
from sanakit.scoring.scorers import load_scorer

PARTS = ("score", "strict", "correct")


class ThingsSeen:
    """Parts: ``score``, the mean over all that is asked for, by degrees; ``strict``, 1 where all of it is right and no
    thing is there too often; ``correct``, GenEval's own verdict. The first alone weighs unless a recipe says otherwise.

    What is asked for is the metadata's ``include`` and ``exclude``, as in a line of GenEval's lists. Facts hold what
    was counted, and what GenEval found wrong.
    """

    weights: Mapping[str, float] = {"score": 1.0}

    def __init__(self, detector: ObjectDetector) -> None:
        self.detector = detector
        self.name, self.weights_hash = f"geneval {detector.name}", detector.weights_hash
        self.resize_rule = detector.resize_rule

    def fits(self, prompt: str, known: Metadata) -> bool:
        """Whether it is known what is asked for."""
        return bool(known.get("include"))

    def __call__(
        self, pictures: Sequence[Image.Image], prompts: Sequence[str], metadata: Sequence[Metadata]
    ) -> Rewarded:
        found = [
            self._judged(*each) if each[1].get("include") else ({}, {}) for each in zip(pictures, metadata, strict=True)
        ]
        return Rewarded(
            {part: [marks.get(part) for marks, _ in found] for part in PARTS}, [facts for _, facts in found]
        )

    def _judged(self, picture: Image.Image, known: Metadata) -> tuple[dict[str, float], dict[str, Any]]:
        if isinstance(self.detector, TransformersDetector):
            require_classes(self.detector, {wanted["class"] for wanted in known["include"]})
        seen = look(picture, known, self.detector)
        verdict = judge_seen(picture, known, seen, self.detector)
        marks = degrees(picture, known["include"], seen, self.detector)
        facts = {"seen": {name: len(things) for name, things in seen.items()}, "wrong": verdict.reason}
        return {"score": fmean(marks), "strict": float(min(marks) == 1), "correct": float(verdict.correct)}, facts


def degrees(
    picture: Image.Image,
    include: Sequence[Mapping[str, Any]],
    seen: Mapping[str, Sequence[SeenObject]],
    detector: ObjectDetector,
) -> list[float]:
    """From 0 to 1 for each count, colour and place that is asked for; the last two count where the count is exact."""
    marks: list[float] = []
    exact: list[Sequence[SeenObject] | None] = []
    for wanted in include:
        things, count = seen.get(wanted["class"], ()), wanted["count"]
        exact.append(things if len(things) == count else None)
        marks.append(max(0.0, 1 - abs(len(things) - count) / count))
        if "color" in wanted:
            right = 0 if exact[-1] is None else detector.colours(picture, things).count(wanted["color"])
            marks.append(right / count)
        if "position" in wanted:
            relation, target = wanted["position"]
            marks.append(float(are_placed(exact[-1], relation, exact[target])))
    return marks


def load_things_seen(place: str, *, device: str | torch.device, hub: HubOptions | None) -> ThingsSeen:
    """``DETECTOR`` or, where colours are asked for, ``DETECTOR@CLIP``: folders or hub ids of transformers.

    Raises:
        RequestError, DownloadError, CheckpointError: one is not there, or another kind of model.
    """
    detector, _, clip = place.partition("@")
    scorer = load_scorer(clip, device=device, hub=hub) if clip else None
    return ThingsSeen(load_object_detector(detector, colour_scorer=scorer, device=device, hub=hub))
