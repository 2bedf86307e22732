"""GenEval's verdict on a picture from what a detector saw in it; detectors behind one interface.

The rules are those of GenEval's own ``evaluate_images.py``: the most confident objects of a class up to the number
asked for, more of them are only wrong where "exclude" says so; colours and positions of those objects alone.

Source: Ghosh et al., GenEval, arXiv:2310.11513; djghosh13/geneval, evaluation/evaluate_images.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from PIL import Image

from sanakit.scoring.named import NamedNetwork

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
_POSITION_THRESHOLD = 0.1  # of the summed sides of two boxes, within which centres are neither left nor right
_MAX_OBJECTS = 16  # of a class

Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenObject:
    """``box`` in any unit that is the same across and down; ``colour`` where the detector itself knows it."""

    name: str
    confidence: float
    box: Box
    colour: str | None = None


class ObjectDetector(NamedNetwork, Protocol):
    """Names the objects of a picture; thresholds on confidence are its own, and ``protocol`` says them."""

    @property
    def protocol(self) -> str:
        """One sentence for the report: what it is exact about, and where it differs from GenEval's own."""
        ...

    def detect(self, image: Image.Image, *, counting: bool) -> list[SeenObject]:
        """What is in the picture; ``counting`` asks for the stricter threshold of GenEval's counting task."""
        ...

    def colours(self, image: Image.Image, objects: Sequence[SeenObject]) -> list[str | None]:
        """The colour word of `COLOURS` of each object."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """``reason`` is empty for a picture that is right."""

    correct: bool
    reason: str


def judge_picture(image: Image.Image, metadata: Mapping[str, Any], detector: ObjectDetector) -> Verdict:
    """Whether a picture shows what a line of ``evaluation_metadata.jsonl`` asks for."""
    return judge_seen(image, metadata, look(image, metadata, detector), detector)


def look(image: Image.Image, metadata: Mapping[str, Any], detector: ObjectDetector) -> dict[str, list[SeenObject]]:
    """What is in the picture by name, the surest first."""
    seen: dict[str, list[SeenObject]] = {}
    things = detector.detect(image, counting=metadata.get("tag") == "counting")
    for thing in sorted(things, key=lambda thing: -thing.confidence):
        if len(seen.setdefault(thing.name, [])) < _MAX_OBJECTS:
            seen[thing.name].append(thing)
    return seen


def judge_seen(
    image: Image.Image, metadata: Mapping[str, Any], seen: Mapping[str, list[SeenObject]], detector: ObjectDetector
) -> Verdict:
    """`judge_picture` of what was seen in it."""
    reasons: list[str] = []
    groups: list[list[SeenObject] | None] = []
    for wanted in metadata.get("include", []):
        found = seen.get(wanted["class"], [])[: wanted["count"]]
        problem = _problem(image, wanted, found, groups, detector)
        reasons += [problem] if problem else []
        groups.append(None if problem else found)
    for unwanted in metadata.get("exclude", []):
        found = seen.get(unwanted["class"], [])
        if len(found) >= unwanted["count"]:
            reasons.append(f"expected {unwanted['class']}<{unwanted['count']}, found {len(found)}")
    return Verdict(correct=not reasons, reason="; ".join(reasons))


def _problem(
    image: Image.Image, wanted: Mapping[str, Any], found: list[SeenObject], groups: list[list[SeenObject] | None],
    detector: ObjectDetector,
) -> str:  # fmt: skip
    name, count = wanted["class"], wanted["count"]
    if len(found) < count:
        return f"expected {name}>={count}, found {len(found)}"
    if "color" in wanted:
        colours = detector.colours(image, found)
        if colours.count(wanted["color"]) < count:
            return f"expected {wanted['color']} {name}>={count}, found {', '.join(map(str, colours))}"
    if "position" in wanted:
        relation, target = wanted["position"]
        others = groups[target]
        if others is None:
            return f"no target for {name} to be {relation}"
        for thing in found:
            for other in others:
                true = relations(thing.box, other.box)
                if relation not in true:
                    return f"expected {name} {relation} target, found {' and '.join(sorted(true)) or 'neither'}"
    return ""


def are_placed(things: Sequence[SeenObject] | None, relation: str, others: Sequence[SeenObject] | None) -> bool:
    """Whether each of the things is ``relation``, such as "left of", each of the others; not where there are none."""
    if not things or not others:
        return False
    return all(relation in relations(thing.box, other.box) for thing in things for other in others)


def relations(box: Box, other: Box) -> set[str]:
    """Where the first box is, seen from the second: "left of", "right of", "above", "below", up to two of them."""
    corners, targets = np.asarray(box).reshape(2, 2), np.asarray(other).reshape(2, 2)
    offset = corners.mean(0) - targets.mean(0)
    sides = np.abs(corners[1] - corners[0]) + np.abs(targets[1] - targets[0])
    beyond = np.maximum(np.abs(offset) - _POSITION_THRESHOLD * sides, 0) * np.sign(offset)
    if np.all(np.abs(beyond) < 1e-3 * sides.max()):
        return set()
    across, down = beyond / np.linalg.norm(offset)
    found = {"left of": across < -0.5, "right of": across > 0.5, "above": down < -0.5, "below": down > 0.5}
    return {word for word, holds in found.items() if holds}
