"""Which of its captions a picture is shown with, drawn anew in every epoch.

SANA's captions come from several models, each with a score of how well it fits the picture. The draw is a pure
function of (seed, epoch, key of the sample), so it does not depend on processes, threads or resuming.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, assert_never

import numpy as np
from numpy.typing import NDArray

from sanakit.common.errors import ConfigError
from sanakit.common.seeds import derived_seed
from sanakit.data.samples import MAIN_SOURCE, Caption

_LEAST_TEMPERATURE = 0.01  # below which upstream's power law does not go


@dataclass(frozen=True, kw_only=True, slots=True)
class ExponentialChoice:
    """``P(i) = exp(c_i / temperature) / sum_j exp(c_j / temperature)`` over the captions that have a score.

    At temperature 0 the best caption is taken. If no caption has a score, the one of source "prompt" is.
    Source: SANA, arXiv:2410.10629, section 2.3.
    """

    type: Literal["exponential"] = "exponential"
    temperature: float = 1.0  # in units of the score

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise ConfigError(f"caption_choice.temperature={self.temperature} must be 0 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class PowerLawChoice:
    """``P(i) ~ c_i ** (1 / max(temperature, 0.01))`` over the captions whose score is at least ``threshold``.

    If none is, the caption with the highest score is taken; if no caption has a score, the one of source "prompt".
    A score below zero weighs nothing; if all that pass weigh nothing, they are equally likely.
    Source: what upstream's training code does (SANA's configs use a threshold of 25 and a temperature of 0.1).
    """

    type: Literal["power_law"] = "power_law"
    temperature: float = 1.0
    threshold: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf or not math.isfinite(self.threshold):
            raise ConfigError(
                f"caption_choice.temperature={self.temperature} must be 0 or more, and "
                f"threshold={self.threshold} a number"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class ProportionChoice:
    """Fixed weights by source, whatever the scores.

    The weights of the sources that a sample has are normalised. If it has none of them, its caption of source
    "prompt" is taken. Source: upstream's ``caption_selection_type: proportion``.
    """

    type: Literal["proportion"] = "proportion"
    proportions: Mapping[str, float] = field(default_factory=lambda: {MAIN_SOURCE: 1.0})

    def __post_init__(self) -> None:
        if not isinstance(self.proportions, Mapping) or not self.proportions:
            raise ConfigError(
                f"caption_choice.proportions={self.proportions!r} must be weights by source, such as {{prompt: 1}}"
            )
        for source, weight in self.proportions.items():
            if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < math.inf:
                raise ConfigError(f"caption_choice.proportions.{source}={weight!r} must be a number, 0 or more")
        if not any(self.proportions.values()):
            raise ConfigError("caption_choice.proportions are all 0, so that no caption could be chosen")


CaptionChoice = PowerLawChoice | ExponentialChoice | ProportionChoice


def caption_probabilities(captions: Sequence[Caption], config: CaptionChoice) -> NDArray[np.float64]:
    """How likely each caption is, ``(captions,)``, adding up to one.

    Raises:
        ValueError: there are no captions.
    """
    if not captions:
        raise ValueError("a sample without captions has none to choose from")
    match config:
        case ExponentialChoice():
            return _by_score(captions, lambda scores: _exponential(scores, config.temperature))
        case PowerLawChoice():
            return _by_score(captions, lambda scores: _power_law(scores, config))
        case ProportionChoice():
            weights = np.array([float(config.proportions.get(caption.source, 0.0)) for caption in captions])
            return weights / weights.sum() if weights.any() else _main_alone(captions)
        case _:
            assert_never(config)


def choose_caption(captions: Sequence[Caption], config: CaptionChoice, *, seed: int, epoch: int, key: str) -> int:
    """The place of the caption that sample ``key`` is shown with in ``epoch``."""
    if len(captions) == 1:
        return 0
    cumulated = np.cumsum(caption_probabilities(captions, config))
    draw = derived_seed("caption", seed, epoch, key, bits=53) / 2**53 * cumulated[-1]
    return int(np.searchsorted(cumulated, draw, side="right"))


def best_score(captions: Sequence[Caption]) -> float | None:
    """The highest score of a sample's captions; None if none has one."""
    return max((caption.score for caption in captions if caption.score is not None), default=None)


def _by_score(
    captions: Sequence[Caption], rule: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Apply ``rule``, scores to relative weights, to the captions that have a score; the others get nothing."""
    scored = [place for place, caption in enumerate(captions) if caption.score is not None]
    if not scored:
        return _main_alone(captions)
    weights = np.zeros(len(captions))
    weights[scored] = rule(np.array([captions[place].score for place in scored], dtype=np.float64))
    return weights / weights.sum()


def _exponential(scores: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    return np.exp((scores - scores.max()) / temperature) if temperature else _best(scores)


def _power_law(scores: NDArray[np.float64], config: PowerLawChoice) -> NDArray[np.float64]:
    passing = scores >= config.threshold
    if not passing.any():
        return _best(scores)
    highest = scores[passing].max()
    if highest <= 0:
        return passing.astype(np.float64)
    shares = np.where(passing, scores.clip(min=0.0), 0.0) / highest  # in [0, 1], so nothing overflows
    return shares ** (1 / max(config.temperature, _LEAST_TEMPERATURE))


def _best(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """All on the first of the highest scores."""
    weights = np.zeros(len(scores))
    weights[int(np.argmax(scores))] = 1.0
    return weights


def _main_alone(captions: Sequence[Caption]) -> NDArray[np.float64]:
    """All on the caption of source "prompt", or on the first one where there is none."""
    weights = np.zeros(len(captions))
    weights[next((place for place, caption in enumerate(captions) if caption.source == MAIN_SOURCE), 0)] = 1.0
    return weights
