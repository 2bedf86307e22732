"""The order of training: counted."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sanakit.common.errors import RequestError
from sanakit.data.buckets import assign_bins
from sanakit.data.order import BatchOrder

SIZES = st.lists(st.tuples(st.integers(1, 900), st.integers(1, 900)), min_size=1, max_size=80)


def order_of(sizes: list[tuple[int, int]], batch_size: int, seed: int = 0) -> BatchOrder:
    return BatchOrder(assign_bins(sizes, (64, 256), multiple=16), batch_size=batch_size, seed=seed)


def seen(order: BatchOrder, numbers: range) -> Counter[int]:
    return Counter(index for number in numbers for index in order[number].indices)


@settings(deadline=None)
@given(SIZES, st.integers(1, 12), st.integers(0, 2**63 - 1), st.integers(0, 5))
def test_an_epoch_has_every_sample_once_and_a_batch_one_bin(
    sizes: list[tuple[int, int]], batch_size: int, seed: int, epoch: int
) -> None:
    order = order_of(sizes, batch_size, seed)
    bins = assign_bins(np.array(sizes), (64, 256), multiple=16)
    numbers = range(epoch * order.num_batches, (epoch + 1) * order.num_batches)
    assert seen(order, numbers) == Counter(range(len(sizes)))
    for number in numbers:
        batch = order[number]
        assert batch.epoch == epoch
        assert 1 <= len(batch.indices) <= batch_size
        assert order.size(number) == len(batch.indices)
        assert {tuple(bins[index].tolist()) for index in batch.indices} == {(batch.height, batch.width)}
    counts = Counter(map(tuple, bins.tolist()))
    assert order.bins() == counts
    assert order.num_batches == sum(-(-count // batch_size) for count in counts.values())  # one rest per bin at most


@settings(deadline=None)
@given(
    SIZES,
    st.integers(1, 5),
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 6)), min_size=1, max_size=6),
)
def test_runs_that_change_their_ranks_still_see_every_sample_once(
    sizes: list[tuple[int, int]], batch_size: int, sittings: list[tuple[int, int, int]]
) -> None:
    order, position, taken = order_of(sizes, batch_size), 0, []
    for world, accumulation, steps in sittings:  # each sitting begins at the position that the one before it saved
        for _ in range(steps):
            step = [position + a * world + rank for rank in range(world) for a in range(accumulation)]
            taken += [(number, order[number].indices) for number in step]
            position += world * accumulation
    assert sorted(number for number, _ in taken) == list(range(position))
    for epoch in range(position // order.num_batches):
        numbers = range(epoch * order.num_batches, (epoch + 1) * order.num_batches)
        counts = Counter(index for number, indices in taken if number in numbers for index in indices)
        assert counts == Counter(range(len(sizes)))


def test_epochs_differ_in_their_batches_and_in_the_order_of_their_bins() -> None:
    order = order_of([(64, 64)] * 60 + [(64, 128)] * 60, 6)
    epochs = [[order[e * order.num_batches + i] for i in range(order.num_batches)] for e in range(2)]
    assert {frozenset(b.indices) for b in epochs[0]} != {frozenset(b.indices) for b in epochs[1]}
    shapes = [[(b.height, b.width) for b in epoch] for epoch in epochs]
    assert shapes[0] != shapes[1]
    assert shapes[0] != sorted(shapes[0])  # not one bin after the other
    assert order_of([(64, 64)] * 60, 6, seed=1)[0] != order_of([(64, 64)] * 60, 6, seed=2)[0]


def test_every_sample_is_equally_likely_at_every_place() -> None:
    order = order_of([(64, 64)] * 8, 8)
    table = np.zeros((8, 8))
    for epoch in range(2000):
        for place, index in enumerate(order[epoch].indices):
            table[index, place] += 1
    chi_square = ((table - 250) ** 2 / 250).sum()
    assert chi_square < 90  # 49 degrees of freedom: exceeded by chance once in 3000 seeds


def test_the_order_is_what_it_always_was() -> None:
    order = order_of([(60 + 40 * (i % 3), 100) for i in range(10)], 3, seed=5)
    first_epoch = [order[number].indices for number in range(order.num_batches)]
    assert first_epoch == [(9,), (3, 6, 0), (2, 5, 8), (4, 7, 1)]


def test_threads_see_what_one_would_see() -> None:
    order, alone = (order_of([(64, 64 + i % 90) for i in range(500)], 7) for _ in range(2))
    numbers = [(n * 37) % (5 * order.num_batches) for n in range(5 * order.num_batches)]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(order.__getitem__, numbers))
    assert together == [alone[number] for number in numbers]


def test_cached_latents_keep_their_shapes() -> None:
    shapes = [(64, 96)] * 5 + [(32, 32)] * 3
    order = BatchOrder(shapes, batch_size=4, seed=0)
    assert order.num_batches == 3
    for number in range(3):
        batch = order[number]
        assert {shapes[index] for index in batch.indices} == {(batch.height, batch.width)}


def test_a_million_samples_take_seconds() -> None:
    sizes = np.random.default_rng(0).integers(200, 3000, (1_000_000, 2))
    start = time.process_time()
    order = BatchOrder(assign_bins(sizes, (512, 1024)), batch_size=64, seed=0)
    order[0]
    first = time.process_time() - start
    start = time.process_time()
    for number in range(1000):
        order[number]
    assert first < 4
    assert time.process_time() - start < 0.2


def test_what_has_no_order_is_refused() -> None:
    with pytest.raises(RequestError, match="no samples"):
        order_of([], 3)
    with pytest.raises(RequestError, match="batch_size=0"):
        order_of([(64, 64)], 0)
    with pytest.raises(IndexError, match="before the start"):
        order_of([(64, 64)], 1)[-1]


def test_odd_shapes_keep_their_last_pixel() -> None:
    order = BatchOrder([(33, 65), (1, 4097)], batch_size=2, seed=0)
    assert order.bins() == {(33, 65): 1, (1, 4097): 1}
    assert {(order[number].height, order[number].width) for number in range(2)} == {(33, 65), (1, 4097)}
    with pytest.raises(RequestError, match="seed=-1 0 or more"):
        BatchOrder([(1, 1)], batch_size=1, seed=-1)
