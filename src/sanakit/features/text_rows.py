"""Features of many texts in one piece of memory, and batches of them."""

from __future__ import annotations

import torch
from torch import Tensor

from sanakit.models.text.text_condition import TextCondition


class TextRows:
    """Texts of different lengths, one behind the other.

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
