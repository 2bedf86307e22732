"""Two kinds of data as one stream of micro-batches."""

from __future__ import annotations

import math
from typing import Protocol

from sanakit.features.batches import LatentBatch, NamedSample, NamesSamples


class Latents(Protocol):
    """Training data that has an end; see ``TrainingData``."""

    @property
    def num_batches(self) -> int:
        """Micro-batches of one epoch."""

    def num_samples(self, number: int) -> int:
        """Samples of micro-batch ``number``."""

    def batch(self, number: int) -> LatentBatch:
        """Micro-batch ``number``."""


class InTurn:
    """Micro-batches of two kinds of data in turn, each of one of them alone.

    Of the first n, ``floor(n * share)`` are of the second, whatever n is. An epoch has every sample of the first once.
    """

    def __init__(self, first: Latents, second: Latents, share: float) -> None:
        self._first, self._second, self._share = first, second, share

    @property
    def num_batches(self) -> int:
        return math.ceil(self._first.num_batches / (1 - self._share))

    def num_samples(self, number: int) -> int:
        data, own = self._of(number)
        return data.num_samples(own)

    def describe(self, number: int) -> list[NamedSample]:
        """The samples of a micro-batch with the captions of its epoch; none of scenes, which have no names."""
        data, own = self._of(number)
        return data.describe(own) if isinstance(data, NamesSamples) else []

    def batch(self, number: int) -> LatentBatch:
        """Latents ``(B, C, h, w)`` and text ``(B, L, C)``, both float32."""
        data, own = self._of(number)
        return data.batch(own)

    def _of(self, number: int) -> tuple[Latents, int]:
        """Whose micro-batch it is, and its number there."""
        before = math.floor(number * self._share)
        if math.floor((number + 1) * self._share) > before:
            return self._second, before
        return self._first, number - before
