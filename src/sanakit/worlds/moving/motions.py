"""What the things of a scene do in a clip: drawn and told first, laid out as paths when it is painted (`paths.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from numpy.random import Generator

from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.drawing.looks import look_of
from sanakit.worlds.moving.sides import can_turn
from sanakit.worlds.sampling.casting import choose, only
from sanakit.worlds.sampling.holdout import Split, is_heldout, motion_key
from sanakit.worlds.sampling.mixture import Mixture
from sanakit.worlds.sampling.random_scenes import sample_scene
from sanakit.worlds.scenes.description import MOTIONS, Motion, MotionKind, Scene, SceneObject, SpeedWord

STILL_SHARE = 0.3  # of the scenes; in them nothing moves, and no word says so
_BOTH_SHARE = 0.6  # of pairs in motion both move
_SHARES: Mapping[MotionKind, float] = {
    "left": 0.16, "right": 0.16, "up": 0.11, "down": 0.11, "towards": 0.1, "away": 0.1, "turning": 0.08,
    "bouncing": 0.1, "appearing": 0.08,
}  # fmt: skip
_SPEED_SHARES: Mapping[SpeedWord | None, float] = {None: 0.6, "slow": 0.2, "quick": 0.2}


def sample_moving_scene(rng: Generator, bank: Bank, split: Split = "train", *, mixture: Mixture | None = None) -> Scene:
    """A scene whose things have a motion each, or none; their paths come with `set_in_motion`.

    "train" never holds a thing with a motion that is held out for it. A pair in motion has no relation, three different
    things and what is told by its size or side stand still.
    """
    scene = sample_scene(rng, bank, split, mixture=mixture)
    still = scene.kind == "trio" or scene.size is not None or scene.view is not None
    if still or rng.random() < STILL_SHARE:
        return scene
    objects = scene.objects
    if scene.kind == "pair":
        moving = (0, 1) if rng.random() < _BOTH_SHARE else (int(rng.integers(2)),)
        objects = tuple(
            _with_motion(thing, rng, bank, split) if number in moving else thing for number, thing in enumerate(objects)
        )
        return replace(scene, objects=objects, relation=None)
    motion = _with_motion(objects[0], rng, bank, split).motion
    return replace(scene, objects=tuple(replace(thing, motion=motion) for thing in objects))


def motions_of(thing: SceneObject, bank: Bank) -> list[MotionKind]:
    """Those that can be seen of it."""
    return [kind for kind in MOTIONS if kind != "turning" or can_turn(look_of(thing, bank))]


def _with_motion(thing: SceneObject, rng: Generator, bank: Bank, split: Split) -> SceneObject:
    there = motions_of(thing, bank)
    allowed = [kind for kind in there if split == "heldout" or not is_heldout(motion_key(thing.name, kind))]
    kind = choose(only(_SHARES, allowed or there[:1]), rng)
    speed = None if kind == "appearing" else choose(_SPEED_SHARES, rng)
    return replace(thing, motion=Motion(kind=kind, speed=speed))
