"""Scores to winners: brackets, the best, several judges, and a judge that errs (spec: IS1, IS2, IS3, IS5)."""

from __future__ import annotations

import math
import random
from statistics import fmean

import pytest

from sanakit.common.errors import RequestError
from sanakit.pipelines.best_of.ranking import better_half, rank_shares, values_of, winners
from sanakit.pipelines.best_of.settings import BestOf


def chosen(scores: list[float], settings: BestOf) -> list[int]:
    return winners(dict(enumerate(scores)), settings.groups, settings.stay)


def tournament(scores: list[float], keep: int) -> list[int]:
    """Pairs of neighbours, of which the better one stays and of equals the second, until ``keep`` are left."""
    left = list(range(len(scores)))
    while len(left) > keep:
        left = [a if scores[a] > scores[b] else b for a, b in zip(left[::2], left[1::2], strict=True)]
    return left


@pytest.mark.parametrize("keep", [1, 2, 4, 8, 32])
def test_brackets_are_the_tournament(keep: int) -> None:
    draw = random.Random(keep)
    for levels in (1000, 3, 1):  # ties too
        scores = [float(draw.randrange(levels)) for _ in range(32)]
        assert chosen(scores, BestOf(num=32, keep=keep, mode="bracket")) == tournament(scores, keep)


def test_the_first_of_both_modes_is_the_same_one() -> None:
    draw = random.Random(0)
    for num in (1, 2, 7, 16):
        scores = [draw.random() for _ in range(num)]
        best, bracket = (chosen(scores, BestOf(num=num, mode=mode)) for mode in ("topk", "bracket"))
        assert best == bracket == [scores.index(max(scores))]
    assert chosen([1, 5, 3, 5], BestOf(num=4, keep=3)) == [3, 1, 2]


def test_more_candidates_are_never_worse() -> None:
    draw = random.Random(1)
    runs = [[draw.gauss(0, 1) for _ in range(16)] for _ in range(400)]
    best = [fmean(run[chosen(run[:num], BestOf(num=num))[0]] for run in runs) for num in (1, 2, 4, 8, 16)]
    assert best == sorted(best)
    assert best[-1] == pytest.approx(1.766, abs=0.1)  # the mean of the largest of 16 normal numbers


def test_a_judge_that_errs_picks_as_chance_has_it() -> None:
    """Truth and as much noise: their sum and the truth go together with a correlation of 1/sqrt(2)."""
    draw, picked = random.Random(2), list[float]()
    for _ in range(4000):
        truth = [draw.gauss(0, 1) for _ in range(8)]
        number = chosen([value + draw.gauss(0, 1) for value in truth], BestOf(num=8))[0]
        picked.append(truth[number])
    assert fmean(picked) == pytest.approx(1.4236 / math.sqrt(2), abs=0.05)  # the mean of the largest of eight


def test_ranks_of_several_judges_count_by_weight() -> None:
    assert rank_shares([(1.0,), (3.0,), (2.0,), (2.0,)]) == [0, 1, 0.5, 0.5]
    assert rank_shares([(1.0, 0.2), (0.0, 9.0), (1.0, 0.3)]) == [0.5, 0, 1]  # yes and no, then how sure
    assert rank_shares([(math.nan,), (-math.inf,), (0.0,)]) == [0.25, 0.25, 1]
    assert rank_shares([(5.0,)]) == [0]
    first, second = [(0.0,), (1.0,), (2.0,)], [(900.0,), (800.0,), (0.0,)]
    assert values_of([first, second], [3, 1]) == [0.25, 0.5, 0.75]
    assert values_of([first, second], [1, 3]) == [0.75, 0.5, 0.25]


def test_halves_leave_enough_in_every_group() -> None:
    values = dict(enumerate([5.0, 1, 2, 3, 9, 8, 7, 6]))
    assert better_half(values, BestOf(num=8).groups, 1) == [4, 5, 6, 7]
    assert better_half(values, BestOf(num=8, keep=6).groups, 6) == [0, 3, 4, 5, 6, 7]
    assert better_half(values, BestOf(num=8, keep=2, mode="bracket").groups, 1) == [0, 3, 4, 5]
    assert better_half({0: 1.0, 2: 2.0, 3: 0.0}, [range(4)], 1) == [0, 2]


def test_stages_are_whole_steps_that_drop_somebody() -> None:
    early = {"dropping": (0.3, 0.5)}
    assert BestOf(num=16, **early).stages(20) == [6, 10]
    assert BestOf(num=2, **early).stages(20) == [6]
    assert BestOf(num=16, keep=16, **early).stages(20) == BestOf(num=1, **early).stages(20) == []
    assert BestOf(num=16, **early).stages(1) == []
    assert BestOf(num=16, **early).stages(2) == [1]
    assert BestOf(num=16).stages(20) == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"num": 0}, "best_of=0"),
        ({"num": True}, "best_of=True"),
        ({"num": 5000}, "to 4096"),
        ({"num": 4, "keep": 5}, "of 4 candidates 1 to 4 can stay"),
        ({"num": 6, "keep": 4, "mode": "bracket"}, "do not make 4 brackets"),
        ({"num": 4, "mode": "best"}, "topk or bracket"),
        ({"num": 4, "dropping": (0.5, 0.3)}, "rising shares"),
        ({"num": 4, "dropping": (0.0,)}, "rising shares"),
        ({"num": 4, "weights": (math.nan,)}, "above 0"),
    ],
)
def test_numbers_that_do_not_go_together(fields: dict[str, object], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        BestOf(**fields)  # type: ignore[arg-type]
