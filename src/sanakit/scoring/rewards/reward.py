"""What a reward is, and what it may say."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sanakit.common.errors import SanakitError, first_line

Metadata = Mapping[str, Any]
"""What is known of a prompt beside its text, as plain values: ``scene`` of one of the worlds' scenes."""


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """``frames`` ``(T, H, W, 3)`` of 8 bits, ``fps`` of them a second."""

    frames: NDArray[np.uint8]
    fps: float


Shown = Image.Image | Clip
"""What a model has made: a picture, or of a model of clips a clip."""

Marks = dict[str, float | None]
"""Numbers of one picture or clip by ``reward.part``; None of what its prompt does not ask for."""


@dataclass(frozen=True, slots=True)
class Rewarded:
    """What a reward says of some pictures.

    Attributes:
        scores: by part, one number for each picture; more is better, None is what the prompt does not ask for.
        facts: what else there is to say of each picture, as plain values.
    """

    scores: Mapping[str, Sequence[float | None]]
    facts: Sequence[Mapping[str, Any]] = field(default_factory=list)


Reward = Callable[[Sequence[Any], Sequence[str], Sequence[Metadata]], Rewarded | Sequence[float | None]]
"""Pictures, prompts and what is known of these, as many of each, to a number for each picture, or to some by part.

It may have ``weights`` of its parts (all alike if not); ``fits``, a function of a prompt and what is known of it, which
says whether it has anything to say of its pictures; and ``of_clips``: where that is True it is given each `Clip` whole,
otherwise some of the frames as pictures.
"""

ONE_PART = "score"


class RewardError(SanakitError):
    """A reward has failed, or has said what is no reward."""


def asked(
    reward: Reward,
    name: str,
    pictures: Sequence[Shown],
    prompts: Sequence[str],
    metadata: Sequence[Metadata],
    seeds: Sequence[int],
) -> Rewarded:
    """What a reward says, checked.

    Raises:
        RewardError: it fails, its numbers are not as many as the pictures, or one is no number; the sentence names
            prompt and seed.
    """
    where = [f"{prompt!r} (seed {seed})" for prompt, seed in zip(prompts, seeds, strict=True)]
    try:
        said: Any = reward(pictures, prompts, metadata)
        found = said if isinstance(said, Rewarded) else Rewarded({ONE_PART: [_number(each) for each in said]})
    except (SanakitError, MemoryError):
        raise
    except Exception as error:
        raise RewardError(
            f"the reward {name} failed on pictures that begin with {where[0]}: {first_line(error)}"
        ) from (error)
    for part, scores in found.scores.items():
        if len(scores) != len(pictures):
            raise RewardError(
                f"the reward {name} gave {len(scores)} numbers ({part}) for {len(pictures)} pictures that begin with "
                f"{where[0]}; each needs one"
            )
        for place, score in zip(where, scores, strict=True):
            if score is not None and not math.isfinite(score):
                raise RewardError(f"the reward {name} gave {score} ({part}) for {place}; a reward must be a number")
    if found.facts and len(found.facts) != len(pictures):
        raise RewardError(
            f"the reward {name} gave facts of {len(found.facts)} pictures, and {len(pictures)} were shown"
        )
    return found


def _number(said: Any) -> float | None:
    return None if said is None else float(said)
