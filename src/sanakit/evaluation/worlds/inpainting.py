"""Whether a model puts what it is asked for where it is asked for: things painted into composed pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from sanakit.common.errors import ConfigError
from sanakit.common.pixels import Picture
from sanakit.common.progress import OnProgress, no_progress
from sanakit.evaluation.reports.report import Report, Setting, mean_of, use_of
from sanakit.evaluation.worlds.prompt_sets import DEFAULT, PromptSets
from sanakit.evaluation.worlds.questions import Asked, Question
from sanakit.evaluation.worlds.subject import Subject
from sanakit.scoring.named import NamedReader
from sanakit.worlds.drawing.compose import compose
from sanakit.worlds.reading.read_scene import ReadScene
from sanakit.worlds.scenes.description import Box

PROTOCOL = (
    "Composed scenes with a held-out pairing, in turn of two things with a relation and of one thing before a ground; "
    "the first thing is left out of the picture, the mask is its box with a margin of 1/16 of the canvas, and the "
    "prompt tells the whole scene. found: the reader names the thing with the middle of its box under the mask. true: "
    "the same in the composed picture of the whole scene, the reader's ceiling. pasted: the same where that picture, "
    "encoded and decoded, is laid under the mask, the autoencoder's ceiling. drawn: the thing is named anywhere "
    "in a whole picture that the model draws of the same prompt and seed, its own ceiling. kept: no pixel outside of "
    "the mask has changed. Intervals: 95 %, percentile bootstrap."
)
_MARGIN = 1 / 16

Inpaint = Callable[[str, int, "Picture | None", "NDArray[np.bool_] | None"], Picture]
"""Prompt, seed, picture and mask ``(H, W)`` to the picture with that part made anew; without both to a new one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Hole:
    """A picture without the thing that ``asked.truth`` has first, and where that belongs."""

    asked: Asked
    picture: Picture
    whole: Picture
    box: Box

    @property
    def mask(self) -> NDArray[np.bool_]:
        """``(H, W)``, True under the box."""
        height, width = self.picture.shape[:2]
        left, top, right, bottom = self.box
        mask = np.zeros((height, width), np.bool_)
        mask[int(top * height) : round(bottom * height), int(left * width) : round(right * width)] = True
        return mask

    def pasted(self, picture: Picture) -> Picture:
        """With what another picture has under the mask."""
        return np.where(self.mask[..., None], picture, self.picture)

    def named(self, read: ReadScene) -> bool:
        """The thing is somewhere."""
        return any(thing.name == self.asked.truth.objects[0].name for thing in read.objects)

    def found(self, read: ReadScene) -> bool:
        """The thing is named, and in its place."""
        left, top, right, bottom = self.box
        centres = [
            ((thing.box[0] + thing.box[2]) / 2, (thing.box[1] + thing.box[3]) / 2)
            for thing in read.objects
            if thing.name == self.asked.truth.objects[0].name
        ]
        return any(left <= x <= right and top <= y <= bottom for x, y in centres)


def holes(subject: Subject, num: int, seed: int) -> list[Hole]:
    """The first ``num`` of a seed."""
    sets = PromptSets(subject, replace(DEFAULT, pairs=-(-num // 8), words=-(-num // 2)), seed)
    sides = ("left", "right", "above", "below")
    kinds = [
        [row for row in sets.relations() if isinstance(row, Question) and row.name in sides],
        [row for row in sets.new_pairings() if isinstance(row, Question) and "ground" in row.answers],
    ]
    asked = [_in_turn([row.asked for row in rows]) for rows in kinds]
    return [_hole(each, subject) for each in islice(_in_turn(asked), num)]


def inpainting_report(
    inpaint: Inpaint,
    reader: NamedReader,
    cases: Sequence[Hole],
    *,
    rebuild: Callable[[Picture], Picture],
    seed: int,
    settings: Mapping[str, Setting],
    on_progress: OnProgress = no_progress,
) -> Report:
    """Paint and read every case.

    Args:
        rebuild: a picture as the model's autoencoder has it.

    Raises:
        ConfigError: there is none.
    """
    if not cases:
        raise ConfigError("there is nothing to paint: the bank shows none of the names")
    found, true, pasted = list[bool](), list[bool](), list[bool]()
    drawn, kept = list[bool](), list[bool]()
    for number, hole in enumerate(cases, start=1):
        made = inpaint(hole.asked.prompt, hole.asked.seed, hole.picture, hole.mask)
        found.append(hole.found(reader.read(made)))
        true.append(hole.found(reader.read(hole.whole)))
        pasted.append(hole.found(reader.read(hole.pasted(rebuild(hole.whole)))))
        drawn.append(hole.named(reader.read(inpaint(hole.asked.prompt, hole.asked.seed, None, None))))
        kept.append(bool((made[~hole.mask] == hole.picture[~hole.mask]).all()))
        on_progress(number, len(cases), "painting and reading")
    pairs = [len(hole.asked.truth.objects) > 1 for hole in cases]
    rows = {
        "found": found,
        "found, beside another thing": [each for each, pair in zip(found, pairs, strict=True) if pair],
        "found, before a ground": [each for each, pair in zip(found, pairs, strict=True) if not pair],
        "true": true,
        "pasted": pasted,
        "drawn": drawn,
        "kept": kept,
    }
    lines = [
        {"prompt": hole.asked.prompt, "seed": hole.asked.seed, "box": hole.box, "found": right}
        for hole, right in zip(cases, found, strict=True)
    ]
    return Report(
        title="Things painted into pictures",
        protocol=PROTOCOL,
        measurements=tuple(mean_of(name, values, seed=seed) for name, values in rows.items() if values),
        seed=seed,
        inputs={"pictures": len(cases)},
        settings=settings,
        networks=(use_of(reader),),
        details={"pictures": lines},
    )


def _hole(asked: Asked, subject: Subject) -> Hole:
    truth = asked.truth
    rest = replace(truth, kind="single", objects=truth.objects[1:], relation=None)
    left, top, right, bottom = truth.objects[0].box
    box = (max(left - _MARGIN, 0), max(top - _MARGIN, 0), min(right + _MARGIN, 1), min(bottom + _MARGIN, 1))
    return Hole(asked=asked, picture=compose(rest, subject.bank), whole=compose(truth, subject.bank), box=box)


def _in_turn(kinds: Sequence[Sequence[Asked] | Iterator[Asked]]) -> Iterator[Asked]:
    return chain.from_iterable(zip(*kinds, strict=False))
