"""Where the things of a scene stand or float: each function draws one placing of the same words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from numpy.random import Generator

from sanakit.worlds.sampling.arrangement import arrange, fit
from sanakit.worlds.sampling.casting import Cast
from sanakit.worlds.scenes.description import Box, Relation, SceneObject, SizeWord, overlap

_SCALES: Mapping[SizeWord | None, tuple[float, float]] = {
    None: (0.60, 0.85),
    "small": (0.28, 0.40),
    "big": (0.88, 0.95),
}
_PLACE_SCALES: Mapping[SizeWord | None, tuple[float, float]] = {
    None: (0.48, 0.76),
    "small": (0.26, 0.36),
    "big": (0.84, 0.92),
}
_PAIR_SCALES = (0.41, 0.46)
_HIDDEN_SHARES = (0.12, 0.33)  # of the hinder one's box that the front one's covers
_NUM_TRIES = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Floor:
    """How things stand: on the lower part of the picture where ``low``, with a shadow where ``shadows``."""

    low: bool
    shadows: bool


def place_single(cast: Cast, floor: Floor, size: SizeWord | None, rng: Generator) -> SceneObject:
    """Near the middle, or standing in a place; its longer side is 60 to 85 % of the canvas if no word says else."""
    scale = rng.uniform(*(_PLACE_SCALES if floor.low else _SCALES)[size])
    slack = 0.7 * (1.0 - scale) / 2.0  # the object stays inside, and nearer to the middle than to an edge
    centre = (0.5 + rng.uniform(-slack, slack), 0.5 + rng.uniform(-slack, slack))
    box = fit(cast.aspect, centre, scale)
    if floor.low:
        box = _hung(box, rng) if cast.floats else _stood(box, rng.uniform(0.78, 0.95))
    return _object(cast, box, floor)


def place_alike(casts: Sequence[Cast], floor: Floor, rng: Generator) -> list[SceneObject]:
    """Two to four of one size, none touching another."""
    centres, scale = arrange(len(casts), rng)
    boxes = [fit(cast.aspect, centre, scale) for cast, centre in zip(casts, centres, strict=True)]
    return [_object(cast, box, floor) for cast, box in zip(casts, boxes, strict=True)]


def place_pair(
    casts: tuple[Cast, Cast], relation: Relation | None, floor: Floor, rng: Generator
) -> list[SceneObject] | None:
    """Two different objects; without a relation side by side, the first on the left. None: they do not fit so."""
    match relation:
        case "in front" | "behind":
            front, hinder = casts if relation == "in front" else casts[::-1]
            placed = _one_before_another(front, hinder, floor, rng)
            return placed[::-1] if placed and relation == "behind" else placed
        case "on":
            return _one_on_another(*casts, floor, rng)
        case "above" | "below":
            upper, lower = casts if relation == "above" else casts[::-1]
            stacked = _one_above_another(upper, lower, floor, rng)
            return stacked if relation == "above" else stacked[::-1]
        case _:
            left, right = casts if relation != "right" else casts[::-1]
            beside = _side_by_side(left, right, floor, rng)
            return beside[::-1] if relation == "right" else beside


def _side_by_side(left: Cast, right: Cast, floor: Floor, rng: Generator) -> list[SceneObject]:
    columns = (0.25 + rng.uniform(-0.015, 0.01), 0.75 + rng.uniform(-0.01, 0.015))
    bottom, placed = rng.uniform(0.76, 0.90), []
    for cast, x, scale in zip((left, right), columns, _pair_scales(left, right, rng), strict=True):
        box = fit(cast.aspect, (x, 0.5 + rng.uniform(-0.08, 0.08)), scale)
        if floor.low:
            box = _hung(box, rng) if cast.floats else _stood(box, bottom + rng.uniform(-0.03, 0.03))
        placed.append(_object(cast, box, floor))
    return placed


def _one_above_another(upper: Cast, lower: Cast, floor: Floor, rng: Generator) -> list[SceneObject]:
    rows = (0.25 + rng.uniform(-0.015, 0.01), 0.75 + rng.uniform(-0.01, 0.015))
    scales = _pair_scales(upper, lower, rng)
    over = fit(upper.aspect, (0.5 + rng.uniform(-0.08, 0.08), rows[0]), scales[0])
    under = fit(lower.aspect, (0.5 + rng.uniform(-0.08, 0.08), rows[1]), scales[1])
    if floor.low and not lower.floats:
        under = _stood(under, rng.uniform(0.90, 0.96))
    return [upper.placed(over), _object(lower, under, floor)]


def _one_before_another(front: Cast, hinder: Cast, floor: Floor, rng: Generator) -> list[SceneObject] | None:
    """The front one lower, smaller and to one side, so that most of the hinder one stays to be seen."""
    for _ in range(_NUM_TRIES):
        aside = rng.uniform(0.09, 0.20) * (1 if rng.random() < 0.5 else -1)
        back = fit(hinder.aspect, (0.5 - aside, 0.5), rng.uniform(0.52, 0.64))
        near = fit(front.aspect, (0.5 + aside, 0.5), rng.uniform(0.36, 0.46))
        back, near = _stood(back, rng.uniform(0.66, 0.78)), _stood(near, rng.uniform(0.88, 0.96))
        hidden = overlap(near, back) / ((back[2] - back[0]) * (back[3] - back[1]))
        if _HIDDEN_SHARES[0] <= hidden <= _HIDDEN_SHARES[1] and near[3] - back[3] > 0.1:
            return [_object(front, near, floor), _object(hinder, back, floor, depth=1)]
    return None


def _one_on_another(upper: Cast, lower: Cast, floor: Floor, rng: Generator) -> list[SceneObject] | None:
    """The upper one stands a little behind the upper edge of the lower one, whose top is seen from above."""
    under = _stood(fit(lower.aspect, (0.5 + rng.uniform(-0.06, 0.06), 0.5), rng.uniform(0.60, 0.74)), 0.94)
    width, height = under[2] - under[0], under[3] - under[1]
    edge = under[1] + height * (0.16 if lower.look.style == "rendered" else 0.07)
    scale = min(rng.uniform(0.34, 0.44), 0.85 * width / min(upper.aspect, 1.0), edge - 0.03)
    if scale < 0.26:
        return None
    over = fit(upper.aspect, ((under[0] + under[2]) / 2 + rng.uniform(-0.12, 0.12) * width, 0.5), scale)
    rise = over[3] - edge
    over = (over[0], over[1] - rise, over[2], over[3] - rise)
    return [upper.placed(over, shadow=floor.shadows), _object(lower, under, floor, depth=1)]


def _pair_scales(first: Cast, second: Cast, rng: Generator) -> tuple[float, float]:
    """Longer sides; of two whose real sizes are known the smaller one is a little smaller."""
    scales = [rng.uniform(*_PAIR_SCALES) for _ in range(2)]
    sizes = [max(cast.thing.size_cm) if cast.thing and cast.thing.size_cm else None for cast in (first, second)]
    if sizes[0] is not None and sizes[1] is not None:
        ratio = (sizes[0] / sizes[1]) ** 0.2
        scales[0] *= min(max(ratio, 0.78), 1.0)
        scales[1] *= min(max(1 / ratio, 0.78), 1.0)
    return scales[0], scales[1]


def _object(cast: Cast, box: Box, floor: Floor, depth: int = 0) -> SceneObject:
    return cast.placed(box, shadow=floor.shadows and not cast.floats, depth=depth)


def _stood(box: Box, bottom: float) -> Box:
    """Moved down or up to end there, or a little lower if it would not fit."""
    left, top, right, old = box
    bottom = min(max(bottom, old - top + 0.03), 0.97)
    return left, bottom - (old - top), right, bottom


def _hung(box: Box, rng: Generator) -> Box:
    """Moved into the upper half of the picture, as far as it fits."""
    left, top, right, bottom = box
    height = bottom - top
    top = rng.uniform(0.03, max(0.04, 0.62 - height))
    return left, top, right, top + height
