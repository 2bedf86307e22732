"""Whether pictures follow a drawing: silhouettes that are drawn against those that are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count, islice

import numpy as np
from numpy.typing import NDArray

from sanakit.common.errors import ConfigError
from sanakit.common.pixels import Picture
from sanakit.common.progress import OnProgress, no_progress
from sanakit.evaluation.reports.report import Report, Setting, mean_of
from sanakit.evaluation.worlds.subject import Subject
from sanakit.scoring.annotators.edges import grown, joined
from sanakit.worlds.drawing.compose import compose, truth_maps
from sanakit.worlds.world_scenes import WorldScenes

PROTOCOL = (
    "Held-out scenes of the model's own words on plain grounds, with their captions as prompts. A silhouette is all "
    "that is not reached from the border over pixels within {limit} of 255 levels of the border's median colour; drawn "
    "is what the scene's own masks have. Overlap is the area of both over that of either. controlled: the picture of "
    "the scene controls; outlined: a black outline of the drawn silhouettes on white controls, as type drawing; base: "
    "nothing does, same prompt and seed; read: the silhouette of the composed picture, what this reading can reach: "
    "scenes where that is below {readable:g}, as a thing has the colour of its ground, are left out. "
    "Intervals: 95 %, percentile bootstrap."
)
LIMIT = 24  # of 255 levels, in any channel
READABLE = 0.9
_LEAST, _MOST = 0.03, 0.6  # of the picture, that silhouettes fill

Mask = NDArray[np.bool_]
Paint = Callable[[str, int, "Picture | None", "str | None"], Picture]
"""Prompt, seed, the picture that controls, if any, and its type (None: what the network knows) to a picture."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """A scene to be made again: its caption, its picture, and where its things are."""

    prompt: str
    seed: int
    picture: Picture
    mask: Mask

    @property
    def outline(self) -> Picture:
        """The border of the silhouettes as a thin black line on white."""
        line = grown(self.mask, 3) & ~self.mask
        return np.where(line[..., None], 0, 255).astype(np.uint8).repeat(3, axis=-1)


def drawn_scenes(subject: Subject, num: int, seed: int, *, size: int = 128) -> list[Drawn]:
    """The first ``num`` of a seed."""
    scenes = WorldScenes(subject.bank, "heldout", seed, size=size)

    def fitting() -> Iterator[Drawn]:
        for index in count():
            scene, prompt = scenes.truth(index)
            if scene.ground.kind != "plain":
                continue
            mask = truth_maps(scene, subject.bank, size).visible.max(axis=0) > 127
            picture = compose(scene, subject.bank, size)
            if _LEAST <= mask.mean() <= _MOST and overlap(mask, silhouette(picture)) >= READABLE:
                yield Drawn(prompt=prompt, seed=seed + index, picture=picture, mask=mask)

    return list(islice(fitting(), num))


def silhouette(picture: Picture) -> Mask:
    """``(H, W)``: what lies before the plain ground of a picture."""
    border = np.ones(picture.shape[:2], dtype=bool)
    border[1:-1, 1:-1] = False
    distance = np.abs(picture.astype(int) - np.median(picture[border], axis=0)).max(axis=-1)
    ground = distance <= LIMIT
    return np.asarray(~joined(border & ground, ground))


def overlap(one: Mask, other: Mask) -> float:
    """Area of both over area of either; 1 of two empty ones."""
    either = (one | other).sum()
    return float((one & other).sum() / either) if either else 1.0


def control_report(
    paint: Paint,
    cases: list[Drawn],
    *,
    seed: int,
    settings: Mapping[str, Setting],
    on_progress: OnProgress = no_progress,
) -> Report:
    """Paint every case with its picture, with its outline and without.

    Raises:
        ConfigError: there is none.
    """
    if not cases:
        raise ConfigError("there is nothing to draw: name at least one scene")
    rows: dict[str, list[float]] = {"controlled": [], "outlined": [], "base": [], "read": []}
    for number, case in enumerate(cases, start=1):
        made = {
            "controlled": paint(case.prompt, case.seed, case.picture, None),
            "outlined": paint(case.prompt, case.seed, case.outline, "drawing"),
            "base": paint(case.prompt, case.seed, None, None),
            "read": case.picture,
        }
        for name, picture in made.items():
            rows[name].append(overlap(case.mask, silhouette(picture)))
        on_progress(number, len(cases), "drawing and comparing")
    lines = [
        {"prompt": case.prompt, "seed": case.seed, **{name: round(values[index], 4) for name, values in rows.items()}}
        for index, case in enumerate(cases)
    ]
    return Report(
        title="Silhouettes that are drawn and made",
        protocol=PROTOCOL.format(limit=LIMIT, readable=READABLE),
        measurements=tuple(mean_of(name, values, seed=seed) for name, values in rows.items()),
        seed=seed,
        inputs={"scenes": len(cases)},
        settings=settings,
        details={"pictures": lines},
    )
