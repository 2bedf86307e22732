"""What an adapter adds to some rows of a layer's weight, computed beside the layer.

``scale * (up @ down)`` is LoRA (arXiv:2106.09685), ``scale * ((a1 @ b1) * (a2 @ b2))`` LoHa (arXiv:2108.06098) and
``scale * kron(w1, w2)`` LoKr (arXiv:2212.10650). With a magnitude the sum of weight and change has that length, row by
row, which is DoRA (arXiv:2402.09353).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Rows of a layer's matrix: all of them, or those that another layout keeps as a layer of its own.

    Args:
        layer: the name of the module.
        start: the first row.
        out_features: rows.
        in_features: columns.
    """

    layer: str
    start: int
    out_features: int
    in_features: int

    @property
    def rows(self) -> slice:
        return slice(self.start, self.start + self.out_features)


class SidePath(nn.Module):
    """A change of the weight at a place.

    Args:
        place: where.
        scale: of the change.
        magnitude: ``(out,)``, lengths of the rows of weight and change together; None for a plain sum.
        dropout: share of the input's values that are left out while it trains.
    """

    _gain: Tensor | None

    def __init__(
        self, place: Place, *, scale: float = 1.0, magnitude: Tensor | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.place, self.scale, self.dropout = place, scale, dropout
        self.magnitude = None if magnitude is None else nn.Parameter(magnitude)
        self.register_buffer("_gain", None, persistent=False)

    @property
    @abstractmethod
    def rank(self) -> int:
        """As files count it."""

    @abstractmethod
    def product(self, x: Tensor) -> Tensor:
        """``(..., in)`` times the change, without its scale: ``(..., out)``."""

    @abstractmethod
    def matrix(self) -> Tensor:
        """The change without its scale, ``(out, in)``."""

    def add_(self, y: Tensor, x: Tensor, weight: float) -> None:
        """Add ``weight`` times the product to ``y`` in place; without a magnitude."""
        y.add_(self.product(x), alpha=weight * self.scale)

    def change(self, weight: Tensor) -> Tensor:
        """Of ``weight`` ``(out, in)``, the rows at the place: what is added to it, in its dtype or wider."""
        added = self.matrix() * self.scale
        if self.magnitude is None:
            return added
        turned = weight + added
        return turned * (self.magnitude / lengths_of(turned))[:, None] - weight

    def forward(self, x: Tensor, y: Tensor, bias: Tensor | None, weight: Callable[[], Tensor]) -> Tensor:
        """What is added to ``y`` ``(..., out)``, which the layer makes of ``x`` ``(..., in)``; ``weight`` gives its
        rows where they are needed."""
        added = self.product(F.dropout(x, self.dropout, self.training)) * self.scale
        if self.magnitude is None:
            return added
        gain = self._gain_over(weight)
        own = y if bias is None else y - bias
        return own * (gain - 1) + added * gain

    def _gain_over(self, weight: Callable[[], Tensor]) -> Tensor:
        """Magnitude over length ``(out,)``; the length counts as a constant, and is kept while nothing trains."""
        assert self.magnitude is not None
        if self._gain is not None and not self.training:
            return self._gain
        with torch.no_grad():
            length = lengths_of(weight() + self.matrix() * self.scale)
        gain = self.magnitude / length
        if not self.training:
            self._gain = gain.detach()
        return gain


class LowRank(SidePath):
    """LoRA: ``down (rank, in)``, then ``up (out, rank)``."""

    def __init__(
        self,
        place: Place,
        down: Tensor,
        up: Tensor,
        *,
        scale: float = 1.0,
        magnitude: Tensor | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(place, scale=scale, magnitude=magnitude, dropout=dropout)
        self.down, self.up = nn.Parameter(down), nn.Parameter(up)

    @property
    def rank(self) -> int:
        return len(self.down)

    def product(self, x: Tensor) -> Tensor:
        return F.linear(F.linear(x, self.down), self.up)

    def matrix(self) -> Tensor:
        return self.up @ self.down

    def add_(self, y: Tensor, x: Tensor, weight: float) -> None:
        inner = F.linear(x, self.down).view(-1, self.rank).to(y.dtype)
        up = self.up.to(y.dtype)  # autocast makes y narrower
        y.view(-1, y.shape[-1]).addmm_(inner, up.mT, alpha=weight * self.scale)


class Hadamard(SidePath):
    """LoHa: two low-rank matrices multiplied value by value; ``a1, a2 (out, rank)`` and ``b1, b2 (rank, in)``."""

    def __init__(
        self,
        place: Place,
        factors: tuple[Tensor, Tensor, Tensor, Tensor],
        *,
        scale: float = 1.0,
        magnitude: Tensor | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(place, scale=scale, magnitude=magnitude, dropout=dropout)
        self.a1, self.b1, self.a2, self.b2 = map(nn.Parameter, factors)

    @property
    def rank(self) -> int:
        return len(self.b1)

    def product(self, x: Tensor) -> Tensor:
        """As one path of ``rank_1 * rank_2``, which it is, while that costs less than the matrix."""
        place, ranks = self.place, len(self.b1) * len(self.b2)
        if ranks * (place.in_features + place.out_features) >= place.in_features * place.out_features:
            return F.linear(x, self.matrix())
        down = (self.b1[:, None] * self.b2[None]).flatten(0, 1)  # (rank_1 * rank_2, in)
        up = (self.a1[:, :, None] * self.a2[:, None]).flatten(1)  # (out, rank_1 * rank_2)
        return F.linear(F.linear(x, down), up)

    def matrix(self) -> Tensor:
        return (self.a1 @ self.b1) * (self.a2 @ self.b2)


class Kronecker(SidePath):
    """LoKr: every number of ``left`` times the whole of ``right``; each is a matrix, or a product of two."""

    def __init__(
        self,
        place: Place,
        left: tuple[Tensor, ...],
        right: tuple[Tensor, ...],
        *,
        scale: float = 1.0,
        magnitude: Tensor | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(place, scale=scale, magnitude=magnitude, dropout=dropout)
        self.left, self.right = nn.ParameterList(left), nn.ParameterList(right)

    @property
    def rank(self) -> int:
        inner = [factors[1].shape[0] for factors in (self.right, self.left) if len(factors) > 1]
        return inner[0] if inner else min(*self.right[0].shape)

    @property
    def is_ranked(self) -> bool:
        """One of both is a product, whose inner side is the rank; else alpha has nothing to be divided by."""
        return len(self.left) + len(self.right) > 2

    def _factors(self) -> tuple[Tensor, Tensor]:
        left, right = (
            factors[0] @ factors[1] if len(factors) > 1 else factors[0] for factors in (self.left, self.right)
        )
        return left, right

    def product(self, x: Tensor) -> Tensor:
        left, right = self._factors()
        parts = F.linear(x.unflatten(-1, (left.shape[1], right.shape[1])), right)  # (..., in_1, out_2)
        return (left @ parts).flatten(-2)

    def matrix(self) -> Tensor:
        return torch.kron(*self._factors())


class Full(SidePath):
    """A change of every number, ``(out, in)``, which no fewer tell."""

    def __init__(self, place: Place, difference: Tensor, *, scale: float = 1.0) -> None:
        super().__init__(place, scale=scale)
        self.difference = nn.Parameter(difference)

    @property
    def rank(self) -> int:
        return min(self.difference.shape)

    def product(self, x: Tensor) -> Tensor:
        return F.linear(x, self.difference)

    def matrix(self) -> Tensor:
        return self.difference


def lengths_of(matrix: Tensor) -> Tensor:
    """Of the rows, ``(out,)``; of a row of zeros the smallest number, so that it may be divided by."""
    return torch.linalg.vector_norm(matrix, dim=1).clamp_min(torch.finfo(matrix.dtype).tiny)
