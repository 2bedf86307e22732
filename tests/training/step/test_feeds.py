"""Which micro-batches a step takes."""

from __future__ import annotations

import math
from types import ModuleType

import pytest

from sanakit.common.ranks import Ranks
from sanakit.training.step.feeds import plan_step


@pytest.mark.parametrize(("world", "accumulation"), [(1, 1), (3, 2), (2, 5)])
def test_the_shares_of_a_step_are_its_microbatches_once(toy: ModuleType, world: int, accumulation: int) -> None:
    data, position, end = toy.ToyData(22, 4), 0, 12  # two epochs of six, the last of two samples
    seen, total = [], 0
    while position < end:
        shares = [plan_step(data.num_samples, position, end, accumulation, Ranks(rank, world)) for rank in range(world)]
        assert len({len(share.numbers) for share in shares}) == 1  # in step: none waits for another
        taken = [(n, w) for share in shares for n, w in zip(share.numbers, share.weights, strict=True) if w]
        assert math.isclose(sum(weight for _, weight in taken), 1.0)
        for number, weight in taken:
            assert weight == data.num_samples(number) / shares[0].num_samples
        for rank, share in enumerate(shares):
            assert all(
                n == position + a * world + rank
                for a, (n, w) in enumerate(zip(share.numbers, share.weights, strict=True))
                if w
            )
        seen += [number for number, _ in taken]
        total += shares[0].num_samples
        position += shares[0].num_microbatches
    assert sorted(seen) == list(range(12))
    assert total == 44
