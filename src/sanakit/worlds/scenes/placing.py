"""From words to a scene: the same words may stand in many places, so each function draws one placing."""

from __future__ import annotations

from collections.abc import Mapping

from numpy.random import Generator

from sanakit.worlds.sampling.arrangement import arrange, fit
from sanakit.worlds.scenes.scene import Look, Point, Relation, Scene, SceneObject, SizeWord
from sanakit.worlds.scenes.vocabulary import DEFAULT_BACKGROUND, ITEMS

_SCALES: Mapping[SizeWord | None, tuple[float, float]] = {
    None: (0.60, 0.85),
    "small": (0.30, 0.40),
    "big": (0.88, 0.95),
}
_PAIR_SCALES = (0.40, 0.46)


def place_single(
    look: Look, rng: Generator, *, background: str = DEFAULT_BACKGROUND, size: SizeWord | None = None
) -> Scene:
    """One object, near the middle; its longer side is 60 to 85 % of the canvas unless a size word says else."""
    scale = rng.uniform(*_SCALES[size])
    slack = 0.7 * (1.0 - scale) / 2.0  # the object stays inside, and nearer to the middle than to an edge
    centre = (0.5 + rng.uniform(-slack, slack), 0.5 + rng.uniform(-slack, slack))
    return Scene(kind="single", objects=(_object(look, centre, scale),), background=background, size=size)


def place_count(look: Look, num_objects: int, rng: Generator, *, background: str = DEFAULT_BACKGROUND) -> Scene:
    """Two to four alike, of one size, none touching another."""
    centres, scale = arrange(num_objects, rng)
    objects = tuple(_object(look, centre, scale) for centre in centres)
    return Scene(kind="count", objects=objects, background=background)


def place_pair(
    first: Look, second: Look, rng: Generator, *, relation: Relation | None = None, background: str = DEFAULT_BACKGROUND
) -> Scene:
    """Two different objects; without a relation they stand side by side, the first on the left."""
    centres = _pair_centres(rng, upright=relation in ("above", "below"))
    if relation in ("right", "below"):
        centres = centres[::-1]
    objects = tuple(
        _object(look, centre, rng.uniform(*_PAIR_SCALES)) for look, centre in zip((first, second), centres, strict=True)
    )
    return Scene(kind="pair", objects=objects, background=background, relation=relation)


def _object(look: Look, centre: Point, scale: float) -> SceneObject:
    name, colour = look
    return SceneObject(name=name, colour=colour, box=fit(ITEMS[name].aspect, centre, scale))


def _pair_centres(rng: Generator, *, upright: bool) -> tuple[Point, Point]:
    """Centres of two objects of at most 0.46: left and right, or top and bottom; a gap of 0.02 is left at least."""
    along = (0.25 + rng.uniform(-0.015, 0.01), 0.75 + rng.uniform(-0.01, 0.015))
    across = (0.5 + rng.uniform(-0.08, 0.08), 0.5 + rng.uniform(-0.08, 0.08))
    if upright:
        return (across[0], along[0]), (across[1], along[1])
    return (along[0], across[0]), (along[1], across[1])
