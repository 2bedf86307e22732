"""What data is to the loop: micro-batches by number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from sanakit.data.order import BatchOrder
from sanakit.models.text.text_condition import TextCondition

BatchT = TypeVar("BatchT", covariant=True)


class TrainingData(Protocol[BatchT]):
    """The stream of micro-batches of a stage.

    Everything is a pure function of the number, so any process may ask for any of them, in any order and thread.
    """

    @property
    def num_batches(self) -> int | None:
        """Micro-batches of one epoch; None: samples never repeat."""

    def num_samples(self, number: int) -> int:
        """Samples of micro-batch ``number``, without making it."""

    def batch(self, number: int) -> BatchT:
        """Micro-batch ``number``, its tensors on the CPU.

        Raises:
            PictureError: a sample's file has gone, or was changed and cannot be read any more.
        """


@dataclass(frozen=True, slots=True)
class NamedSample:
    """A sample as its data set knows it: its key, its file, and the caption that it is shown with."""

    key: str
    file: str
    caption: str


@runtime_checkable
class NamesSamples(Protocol):
    """Data that can say which samples a micro-batch has."""

    def describe(self, number: int) -> list[NamedSample]:
        """Those of micro-batch ``number``, in its order."""


class OrderedData:
    """Numbers of micro-batches as an order has them."""

    def __init__(self, order: BatchOrder) -> None:
        self._order = order

    @property
    def num_batches(self) -> int:
        return self._order.num_batches

    def num_samples(self, number: int) -> int:
        return self._order.size(number)


@dataclass(frozen=True, slots=True)
class PixelBatch:
    """Pictures ``(B, 3, H, W)`` float32 in [-1, 1]."""

    pixels: Tensor

    def to(self, device: torch.device | str) -> PixelBatch:
        return PixelBatch(self.pixels.to(device, non_blocking=True))


@dataclass(frozen=True, slots=True)
class LatentBatch:
    """Scaled latents ``(B, C, H, W)`` and their text."""

    latent: Tensor
    text: TextCondition

    def to(self, device: torch.device | str) -> LatentBatch:
        embeds, mask = (part.to(device, non_blocking=True) for part in (self.text.embeds, self.text.mask))
        return LatentBatch(self.latent.to(device, non_blocking=True), TextCondition(embeds, mask))


@dataclass(frozen=True, slots=True)
class ControlBatch(LatentBatch):
    """And the latents of what controls them ``(B, C, H, W)``."""

    control: Tensor

    def to(self, device: torch.device | str) -> ControlBatch:
        plain = LatentBatch(self.latent, self.text).to(device)
        return ControlBatch(plain.latent, plain.text, self.control.to(device, non_blocking=True))


class TextRows:
    """Texts of different lengths in one piece of memory, one behind the other.

    Args:
        embeds: ``(tokens, C)``.
        lengths: ``(texts,)``.
    """

    def __init__(self, embeds: Tensor, lengths: Tensor) -> None:
        self.embeds, self.lengths = embeds, lengths
        self._starts = lengths.cumsum(0) - lengths

    def batch(self, texts: Tensor, length: int | None = None) -> TextCondition:
        """The texts of these numbers, float32 ``(B, L, C)`` with zeros where the mask is False.

        Args:
            length: L; that of the longest of them if not given.
        """
        lengths = self.lengths[texts]
        positions = torch.arange(int(lengths.max()) if length is None else length)
        mask = positions < lengths[:, None]  # (B, L)
        rows = (self._starts[texts][:, None] + positions).clamp(max=len(self.embeds) - 1)
        return TextCondition(self.embeds[rows].float() * mask[..., None], mask)
