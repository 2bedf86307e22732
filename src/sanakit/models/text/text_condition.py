"""What a text encoder hands to a network."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sanakit.common.errors import ShapeError


@dataclass(frozen=True, slots=True)
class TextCondition:
    """The encoded text of a batch of prompts.

    Attributes:
        embeds: hidden states of the language model, ``(B, L, C)``.
        mask: ``(B, L)`` bool, True for real tokens.
    """

    embeds: Tensor
    mask: Tensor

    def __post_init__(self) -> None:
        if self.embeds.ndim != 3 or self.mask.shape != self.embeds.shape[:2]:
            raise ShapeError(
                f"text embeds {tuple(self.embeds.shape)} and mask {tuple(self.mask.shape)} do not belong together; "
                f"expected (B, L, C) and (B, L)"
            )
