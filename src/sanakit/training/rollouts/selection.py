"""Which of many pictures of a prompt are worth more work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

Selection = Literal["best_worst", "best", "random", "mean_deviation", "extremes_random"]


def select(rewards: Sequence[float], keep: int, how: Selection, *, seed: int) -> list[int]:
    """Numbers of the chosen, of equals the earlier; all of them where there are no more than ``keep``.

    "best_worst" has one more of the worse where ``keep`` is odd; "mean_deviation" those furthest from the mean,
    "extremes_random" the best, the worst and others by chance.
    """
    values, rng = np.asarray(rewards, dtype=np.float64), np.random.default_rng(seed)
    falling = np.argsort(-values, kind="stable").tolist()
    keep = min(keep, len(falling))
    match how:
        case "best":
            return falling[:keep]
        case "best_worst":
            return [*falling[: keep // 2], *falling[len(falling) - (keep - keep // 2) :]]
        case "random":
            return rng.permutation(len(falling))[:keep].tolist()
        case "mean_deviation":
            return np.argsort(-np.abs(values - values.mean()), kind="stable")[:keep].tolist()
        case "extremes_random":
            ends = [falling[0], falling[-1]][:keep] if len(falling) > 1 else falling
            rest = [each for each in rng.permutation(len(falling)).tolist() if each not in ends]
            return [*ends, *rest[: keep - len(ends)]]


def rank_agreement(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's correlation of two rewards of the same pictures; equals share a rank. None where all of one are equal,
    which have no ranks."""
    ranks = [_ranks(np.asarray(each, dtype=np.float64)) for each in (first, second)]
    centred = [each - each.mean() for each in ranks]
    size = float(np.prod([np.linalg.norm(each) for each in centred]))
    return float(centred[0] @ centred[1]) / size if size else None


def _ranks(values: np.ndarray) -> np.ndarray:
    return np.array([(values < each).sum() + (values == each).sum() / 2 for each in values], dtype=np.float64)
