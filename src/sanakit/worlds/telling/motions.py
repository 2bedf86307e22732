"""The words for what a thing does in a clip; they stand behind its name: "a red apple quickly moving to the left"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from numpy.random import Generator

from sanakit.worlds.sampling.casting import pick
from sanakit.worlds.sampling.holdout import Split
from sanakit.worlds.scenes.description import Motion, MotionKind, SpeedWord
from sanakit.worlds.telling.phrases import join, wordings

# The first of each is the plain one, which canonical captions use.
MOTION_WORDINGS: Mapping[MotionKind, Sequence[str]] = {
    "left": ("moving to the left", "moving left", "going left", "sliding to the left", "travelling to the left"),
    "right": ("moving to the right", "moving right", "going right", "sliding to the right", "travelling to the right"),
    "up": ("moving up", "rising", "moving upwards", "going up"),
    "down": ("moving down", "sinking", "moving downwards", "going down"),
    "towards": ("coming closer", "moving towards the camera", "approaching", "coming towards us"),
    "away": ("moving away", "moving away from the camera", "getting farther away", "going away from us"),
    "turning": ("turning around", "rotating", "spinning", "turning in place"),
    "bouncing": ("bouncing up and down", "bouncing", "hopping up and down", "jumping up and down"),
    "appearing": ("appearing", "popping up", "coming into view", "suddenly appearing"),
}
SPEED_WORDS: Mapping[SpeedWord, Sequence[str]] = {
    "slow": ("slowly", "gently", "unhurriedly"),
    "quick": ("quickly", "rapidly", "swiftly"),
}


def canonical_motion(motion: Motion | None) -> str | None:
    """The plainest wording; None of what stands still."""
    if motion is None:
        return None
    return join(motion.speed and SPEED_WORDS[motion.speed][0], MOTION_WORDINGS[motion.kind][0])


def motion_words(motion: Motion | None, rng: Generator, split: Split) -> str | None:
    """One of many wordings; nothing is drawn where nothing moves, so that captions of stills are as they were."""
    if motion is None:
        return None
    speed = None if motion.speed is None else pick(wordings(SPEED_WORDS[motion.speed], split), rng)
    return join(speed, pick(wordings(MOTION_WORDINGS[motion.kind], split), rng))
