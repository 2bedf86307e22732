"""What a network is told beside its latent and the time: one row for each row of the batch."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor

from sanakit.common.errors import ShapeError
from sanakit.kernels.cross_attention import FoldedText
from sanakit.layers.cross_attention import AttendedText

FoldedRows = tuple[FoldedText | None, ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Condition:
    """The rows of a call of the network; a further kind of condition is a further field, and its line in ``cat``.

    Args:
        keys, values: of every block's cross-attention, ``(B, heads, L, D)`` each.
        mask: ``(B, 1, 1, L)`` bool, True where the text may be seen.
        folded: of every block, for every row, keys and values with the projections around them multiplied in, which
            stand in for them; ``()`` where none are.
        perturbed: blocks, by number, in which self-attention is the identity for some rows, ``(B,)`` bool each, for
            perturbed-attention guidance (arXiv:2403.17377).
        guidance: ``(B,)`` guidance scale, of networks with a guidance embedding (Sprint) only.
        beside: what each of the ``B`` rows takes of the adapters that the network carries, or ``()`` for nothing; who
            calls the network tells it by ``told_by_row`` (``layers/beside.py``).
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    mask: Tensor
    folded: tuple[FoldedRows, ...] = ()
    perturbed: Mapping[int, Tensor] = field(default_factory=dict)
    guidance: Tensor | None = None
    beside: tuple[Hashable, ...] = ()

    @property
    def batch_size(self) -> int:
        """Rows."""
        return self.mask.shape[0]

    @property
    def text_length(self) -> int:
        """Positions of the text, those that nobody sees too."""
        return self.mask.shape[-1]

    def tensors(self) -> list[Tensor]:
        """Everything that a network reads of it, but for what is folded."""
        own = [] if self.guidance is None else [self.guidance]
        return [*self.keys, *self.values, self.mask, *self.perturbed.values(), *own]

    def text_of(self, block: int) -> AttendedText:
        """The texts as the cross-attention of a block, by number, sees them."""
        return AttendedText(self.keys[block], self.values[block], self.mask, self.folded[block] if self.folded else ())

    def perturb(self, layers: Collection[int]) -> Condition:
        """The same rows, with self-attention replaced by the identity in the blocks numbered in ``layers``."""
        every_row = torch.ones(self.batch_size, dtype=torch.bool, device=self.mask.device)
        return replace(self, perturbed=dict.fromkeys(layers, every_row))

    def with_guidance(self, scale: float) -> Condition:
        """The same rows, which tell the network this guidance scale."""
        return replace(self, guidance=torch.full((self.batch_size,), scale, device=self.mask.device))

    def pad(self, length: int) -> Condition:
        """At least ``length`` positions of text; nobody sees the new ones."""
        extra = length - self.text_length
        if extra <= 0:
            return self
        keys, values = (tuple(F.pad(x, (0, 0, 0, extra)) for x in texts) for texts in (self.keys, self.values))
        return replace(self, keys=keys, values=values, mask=F.pad(self.mask, (0, extra)))

    @staticmethod
    def cat(parts: Sequence[Condition]) -> Condition:
        """Rows one after the other; shorter texts are padded.

        Raises:
            ShapeError: only some of the parts have a guidance scale.
        """
        padded = [part.pad(max(part.text_length for part in parts)) for part in parts]
        return Condition(
            keys=tuple(torch.cat(keys) for keys in zip(*(part.keys for part in padded), strict=True)),
            values=tuple(torch.cat(values) for values in zip(*(part.values for part in padded), strict=True)),
            mask=torch.cat([part.mask for part in padded]),
            folded=tuple(map(_in_one_row, zip(*(part.folded for part in parts), strict=False))),
            perturbed={layer: _perturbed_rows(parts, layer) for layer in set().union(*(p.perturbed for p in parts))},
            guidance=_all_or_none([part.guidance for part in parts]),
            beside=_in_order([part.beside or (None,) * part.batch_size for part in parts]),
        )


def _in_one_row(parts: Sequence[FoldedRows]) -> FoldedRows:
    return tuple(chain.from_iterable(parts))


def _in_order(parts: Sequence[tuple[Hashable, ...]]) -> tuple[Hashable, ...]:
    rows = tuple(chain.from_iterable(parts))
    return rows if any(rows) else ()


def _perturbed_rows(parts: Sequence[Condition], layer: int) -> Tensor:
    rows = [part.perturbed.get(layer, torch.zeros_like(part.mask[:, 0, 0, 0])) for part in parts]
    return torch.cat(rows)


def _all_or_none(scales: Sequence[Tensor | None]) -> Tensor | None:
    given = [scale for scale in scales if scale is not None]
    if given and len(given) < len(scales):
        raise ShapeError("rows with and without a guidance scale cannot share a call; a network reads it or does not")
    return torch.cat(given) if given else None
