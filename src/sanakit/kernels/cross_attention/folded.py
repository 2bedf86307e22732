"""The same for one text, with both projections multiplied into its keys and values."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor


class FoldedText(NamedTuple):
    """What is left of queries, keys, values and output for one text of ``L`` tokens.

    A text of one token has no keys: whoever looks at it sees that token, so its ``values`` ``(1, C)`` are the output.
    """

    keys: Tensor | None  # (heads * L, C)
    offsets: Tensor | None  # (heads * L)
    values: Tensor  # (heads * L, C)
    num_heads: int

    def __call__(self, x: Tensor) -> Tensor:
        """Tokens ``(1, N, C)`` to what attention adds to them, ``(1, N, C)``, or ``(1, 1, C)`` where it is one for
        all."""
        if self.keys is None:
            return self.values[None]
        scores = F.linear(x, self.keys, self.offsets).unflatten(-1, (self.num_heads, -1))  # (1, N, heads, L)
        return scores.softmax(dim=-1).flatten(2) @ self.values


def pays(hidden_size: int, num_heads: int, length: int) -> bool:
    """Whether ``2 heads L C`` multiplications a token are fewer than ``2 C^2 + 2 L C``."""
    return length * (num_heads - 1) < hidden_size


def fold(
    keys: Tensor, values: Tensor, query: tuple[Tensor, Tensor | None], out: tuple[Tensor, Tensor | None]
) -> FoldedText:
    """The text of one row, without padding.

    Args:
        keys, values: ``(heads, L, D)``, of which everything may be seen.
        query, out: weight ``(C, C)`` and bias ``(C,)`` of the projections, in float32 or wider for the sums.

    Returns:
        in the dtype of ``values``.
    """
    num_heads, _, size = keys.shape
    wide, dtype = query[0].dtype, values.dtype
    keys, values = keys.to(wide) * size**-0.5, values.to(wide)
    by_head = query[0].unflatten(0, (num_heads, size))  # (heads, D, C)
    folded_keys = (keys @ by_head).flatten(0, 1)
    offsets = None if query[1] is None else (keys @ query[1].view(num_heads, size, 1)).flatten()
    folded_values = values @ out[0].mT.unflatten(0, (num_heads, size))  # (heads, L, C)
    if out[1] is not None:
        folded_values[0] += out[1]  # the weights of a head have the sum 1
    return FoldedText(
        folded_keys.to(dtype),
        None if offsets is None else offsets.to(dtype),
        folded_values.flatten(0, 1).to(dtype),
        num_heads,
    )
