"""Which candidates stay: scores to ranks, ranks by several judges to one value, values to winners.

A score is some numbers that are compared one after the other, as Python compares tuples; a higher one is better.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence

Score = tuple[float, ...]
_WORST: Score = (-math.inf,)


def winners(values: Mapping[int, float], groups: Sequence[range], stay: int) -> list[int]:
    """Of each group in turn the ``stay`` best candidates that have a value, the best first.

    Of equals the later one wins, as in the tournament of SANA-1.5 (arXiv:2501.18427), whose pairs are independent
    judgements: its winners are the best of each group of neighbours.
    """
    there = ([number for number in group if number in values] for group in groups)
    ranked = (sorted(group, key=lambda number: (values[number], number), reverse=True) for group in there)
    return [number for group in ranked for number in group[:stay]]


def better_half(values: Mapping[int, float], groups: Sequence[range], stay: int) -> list[int]:
    """Candidates that are left when the worse half of each group is dropped, but never fewer than ``stay`` of it."""
    left: list[int] = []
    for group in groups:
        num_there = sum(number in values for number in group)
        left += winners(values, [group], max(stay, -(-num_there // 2)))
    return sorted(left)


def values_of(scores: Sequence[Sequence[Score]], weights: Sequence[float]) -> list[float]:
    """One value a candidate, from 0 to 1: the weighted mean of its ranks.

    Args:
        scores: of each judge those of all candidates, in one order.
        weights: of the judges, above 0.
    """
    ranks, total = [rank_shares(each) for each in scores], sum(weights)
    return [sum(w * rank for w, rank in zip(weights, own, strict=True)) / total for own in zip(*ranks, strict=True)]


def rank_shares(scores: Sequence[Score]) -> list[float]:
    """The share of the others that each score beats, where a tie counts half; what is no number beats none."""
    known = [_WORST if any(map(math.isnan, score)) else score for score in scores]
    ordered, others = sorted(known), max(len(known) - 1, 1)
    return [(bisect_left(ordered, score) + bisect_right(ordered, score) - 1) / 2 / others for score in known]
