"""The order of training: an endless stream of micro-batches that is a pure function of sizes and seed.

Number ``n`` is the n-th micro-batch of a run. Step ``s`` of ``W`` processes with ``A`` accumulations takes the next
``W * A`` numbers, and rank ``r``'s a-th is ``position + a * W + r``. So one integer is all that a checkpoint keeps, and
a run that continues with another number of processes still sees every sample once per epoch.

Random draws are raw words of a Philox generator, sorted: numpy promises those to be the same in all its versions and
on all machines, which it does not for its permutations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sanakit.common.errors import RequestError

_NUM_KEPT_EPOCHS = 2  # the current one and, for those who read ahead, the next


@dataclass(frozen=True, slots=True)
class Microbatch:
    """Samples that go through the network together, all at one shape."""

    epoch: int
    indices: tuple[int, ...]
    height: int  # pixels of the bin
    width: int
    frames: int = 1  # of clips


class BatchOrder:
    """Which samples are in micro-batch ``n``, for every ``n`` from 0 on.

    Within an epoch (``num_batches`` numbers) every sample is in exactly one micro-batch, and a micro-batch has one
    bin; the rest of a bin makes a smaller one. Both the samples of a bin and the micro-batches of an epoch come in a
    new order in every epoch. Asking is safe from several threads.

    Args:
        shapes: ``(height, width)`` in pixels that every sample has, such as its bin (`assign_bins`), or of clips
            ``(frames, height, width)``.
        batch_size: samples of a micro-batch.
        seed: 0 or more; decides the orders.

    Raises:
        RequestError: there are no samples.
    """

    def __init__(self, shapes: Sequence[tuple[int, int]] | NDArray[np.int64], *, batch_size: int, seed: int) -> None:
        bins = np.asarray(shapes, dtype=np.int64)
        bins = bins.reshape(-1, bins.shape[-1] if bins.ndim == 2 and bins.shape[-1] == 3 else 2)
        if not len(bins):
            raise RequestError("the data holds no samples that could be trained on")
        if batch_size < 1 or seed < 0:
            raise RequestError(f"batch_size={batch_size} must be 1 or more, and seed={seed} 0 or more")
        self._seed = seed
        frames = bins[:, 0] if bins.shape[1] == 3 else np.ones(len(bins), np.int64)
        codes = (
            frames << 48 | bins[:, -2] << 24 | bins[:, -1]
        )  # one number for each shape, which is much faster to sort than two
        found, bin_of_sample, counts = np.unique(codes, return_inverse=True, return_counts=True)
        self._bin_of_sample = bin_of_sample.astype(np.min_scalar_type(len(found)))
        ends = np.cumsum(counts)
        starts = [np.arange(end - count, end, batch_size) for end, count in zip(ends, counts, strict=True)]
        bin_of_batch = np.repeat(np.arange(len(found)), [len(part) for part in starts])
        self._starts = np.concatenate(starts)  # (batches,), by bin
        self._ends = np.minimum(self._starts + batch_size, ends[bin_of_batch])
        sides = found >> 24 & 0xFFFFFF, found & 0xFFFFFF
        self._shapes = np.stack([*sides, found >> 48], axis=1)[bin_of_batch]  # (batches, 3)
        self.num_batches = len(self._starts)
        self.num_samples = len(bins)
        self._order = lru_cache(_NUM_KEPT_EPOCHS)(self._shuffle)

    def __getitem__(self, number: int) -> Microbatch:
        """Micro-batch ``number``.

        Raises:
            IndexError: the number is negative.
        """
        epoch, place = self._find(number)
        samples, batches = self._order(epoch)
        batch = batches[place]
        indices = tuple(samples[self._starts[batch] : self._ends[batch]].tolist())
        return Microbatch(epoch, indices, *self._shapes[batch].tolist())

    def size(self, number: int) -> int:
        """How many samples micro-batch ``number`` has."""
        epoch, place = self._find(number)
        batch = self._order(epoch)[1][place]
        return int(self._ends[batch] - self._starts[batch])

    def bins(self) -> dict[tuple[int, int], int]:
        """How many samples each ``(height, width)`` has in an epoch."""
        shapes, inverse = np.unique(self._shapes[:, :2], axis=0, return_inverse=True)
        counts = np.bincount(inverse.reshape(-1), weights=self._ends - self._starts)
        return {(int(h), int(w)): int(count) for (h, w), count in zip(shapes, counts, strict=True)}

    def _find(self, number: int) -> tuple[int, int]:
        if number < 0:
            raise IndexError(f"micro-batch {number} is before the start of the run")
        return divmod(number, self.num_batches)

    def _shuffle(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Samples sorted by bin and shuffled within it, and the shuffled numbers of the micro-batches."""
        words = np.random.Philox(np.random.SeedSequence((self._seed, epoch)))
        shuffled = np.argsort(words.random_raw(self.num_samples), kind="stable")
        samples = shuffled[np.argsort(self._bin_of_sample[shuffled], kind="stable")]
        return samples, np.argsort(words.random_raw(self.num_batches), kind="stable")
