"""Several rewards together: who looks, and what their numbers weigh."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, pstdev
from typing import Any

from sanakit.common.errors import ConfigError
from sanakit.scoring.rewards.clips import asked_of_frames
from sanakit.scoring.rewards.reward import Clip, Marks, Metadata, Reward, Rewarded, RewardError, Shown, asked


@dataclass(frozen=True, kw_only=True, slots=True)
class RewardConfig:
    """A reward, and what it weighs.

    Attributes:
        name: see ``load_reward``.
        weight: of it in the sum; 0 is told and not learned from.
        parts: weights of its parts; empty: as it has them itself, or all alike.
        normalise: divide it by its deviation over the pictures of an iteration.
        least, most: it is cut to lie within them, before it is weighed.
    """

    name: str
    weight: float = 1.0
    parts: Mapping[str, float] = field(default_factory=dict)
    normalise: bool = False
    least: float | None = None
    most: float | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigError("a reward needs a name: reader, starter, a folder, module:function ...")
        if not all(map(math.isfinite, (self.weight, *self.parts.values()))):
            raise ConfigError(f"reward {self.name}: weight={self.weight} and parts={dict(self.parts)} must be numbers")
        if self.least is not None and self.most is not None and not self.least < self.most:
            raise ConfigError(f"reward {self.name}: least={self.least} must be below most={self.most}")


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """Rewards by their names."""

    configs: Sequence[RewardConfig]
    rewards: Sequence[Reward]

    @classmethod
    def of(cls, configs: Sequence[RewardConfig], load: Callable[[RewardConfig], Reward]) -> Panel:
        """Raises ConfigError where there is none, or two of a name."""
        names = [config.name for config in configs]
        if not names or len(set(names)) < len(names):
            raise ConfigError(f"rewards: {names} must be one or more, each with a name of its own")
        if not any(config.weight for config in configs):
            raise ConfigError("rewards: all weights are 0, so there is nothing to learn from")
        return cls(configs, [load(config) for config in configs])

    def look(
        self, pictures: Sequence[Shown], prompts: Sequence[str], metadata: Sequence[Metadata], seeds: Sequence[int]
    ) -> list[tuple[Marks, dict[str, Any]]]:
        """Marks of each picture or clip, and facts by reward.

        Raises:
            RewardError: a reward fails, or says what is no reward.
        """
        marks: list[tuple[Marks, dict[str, Any]]] = [({}, {}) for _ in pictures]
        for config, reward in zip(self.configs, self.rewards, strict=True):
            found = _said(reward, config.name, pictures, prompts, metadata, seeds)
            for part, scores in found.scores.items():
                for (own, _), score in zip(marks, scores, strict=True):
                    own[f"{config.name}.{part}"] = None if score is None else float(score)
            for (_, facts), own_facts in zip(marks, found.facts, strict=False):
                facts[config.name] = dict(own_facts)
        return marks

    def totals(self, marks: Sequence[Marks]) -> list[float]:
        """The reward of each picture of an iteration: weighted sums. What a prompt does not ask for counts as 0, which
        is the same for all pictures of the prompt.

        Raises:
            ConfigError: a part is weighed that no reward gives.
        """
        totals = [0.0] * len(marks)
        for config, reward in zip(self.configs, self.rewards, strict=True):
            values = [_value(config, reward, own) for own in marks]
            spread = pstdev(values) if config.normalise and values else 0.0
            scale = config.weight / spread if spread > 1e-9 else config.weight
            totals = [total + scale * value for total, value in zip(totals, values, strict=True)]
        return totals

    def refuse_clips(self) -> None:
        """Raises ConfigError where a reward looks at clips: there will be pictures alone."""
        for config, reward in zip(self.configs, self.rewards, strict=True):
            if getattr(reward, "of_clips", False):
                raise ConfigError(f"reward {config.name} looks at clips, and here are pictures; leave it out")

    def misfits(self, prompts: Sequence[tuple[str, Metadata]]) -> dict[str, list[str]]:
        """Prompts of which a reward has nothing to say, by its name."""
        found: dict[str, list[str]] = {}
        for config, reward in zip(self.configs, self.rewards, strict=True):
            fits = getattr(reward, "fits", None)
            if fits is not None:
                found[config.name] = [prompt for prompt, known in prompts if not fits(prompt, known)]
        return found


def _said(
    reward: Reward,
    name: str,
    shown: Sequence[Shown],
    prompts: Sequence[str],
    metadata: Sequence[Metadata],
    seeds: Sequence[int],
) -> Rewarded:
    """Of clips whole, or of some of their frames, as the reward wants them."""
    clips = [each for each in shown if isinstance(each, Clip)]
    of_clips = getattr(reward, "of_clips", False)
    if of_clips and len(clips) < len(shown):
        raise RewardError(f"the reward {name} looks at clips, and was shown a picture")
    if clips and not of_clips:
        return asked_of_frames(reward, name, clips, prompts, metadata, seeds)
    return asked(reward, name, shown, prompts, metadata, seeds)


def means(marks: Sequence[Marks]) -> dict[str, float]:
    """Of each part over the pictures whose prompts ask for it."""
    by_part: dict[str, list[float]] = {}
    for own in marks:
        for part, score in own.items():
            if score is not None:
                by_part.setdefault(part, []).append(score)
    return {part: fmean(scores) for part, scores in by_part.items()}


def _value(config: RewardConfig, reward: Reward, marks: Marks) -> float:
    """Of one picture: the mean of the parts by their weights."""
    start = f"{config.name}."
    own = {name.removeprefix(start): score for name, score in marks.items() if name.startswith(start)}
    weights = config.parts or getattr(reward, "weights", None) or dict.fromkeys(own, 1.0)
    if unknown := weights.keys() - own.keys():
        raise ConfigError(f"reward {config.name} has no part {min(unknown)}; it has {', '.join(own)}")
    value = sum(weight * (own[part] or 0.0) for part, weight in weights.items()) / max(1, len(weights))
    value = value if config.least is None else max(value, config.least)
    return value if config.most is None else min(value, config.most)
