"""Cross-attention to the text: keys and values come once per prompt, queries once per step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sanakit.kernels.cross_attention import FoldedText, attend, fold
from sanakit.kernels.cross_attention.folded import pays
from sanakit.layers.beside import one_row, watched, whole_weight
from sanakit.layers.linear import Linear
from sanakit.layers.norms import RMSNorm


class AttendedText(NamedTuple):
    """The texts of a batch as one cross-attention sees them."""

    keys: Tensor  # (B, heads, L, D)
    values: Tensor  # (B, heads, L, D)
    mask: Tensor  # (B, 1, 1, L) bool, True where text may be seen
    folded: tuple[FoldedText | None, ...] = ()  # one a row, where there are any; in place of keys and values


@dataclass(frozen=True, slots=True)
class Places:
    """Where the tokens that are seen stand in a batch of texts, ``mask`` ``(B, L)``: padding costs no products.

    For the CPU; elsewhere their number would have to be waited for.
    """

    mask: Tensor
    index: Tensor  # (T,), of B * L

    @classmethod
    def of(cls, mask: Tensor) -> Places:
        return cls(mask, mask.flatten().nonzero()[:, 0])

    def take(self, text: Tensor) -> Tensor:
        """``(B, L, C)`` to ``(T, C)``."""
        return text.flatten(0, 1).index_select(0, self.index)

    def put(self, tokens: Tensor) -> Tensor:
        """``(T, C)`` to ``(B, L, C)``, with zeros as padding."""
        text = tokens.new_zeros(self.mask.numel(), tokens.shape[-1])
        return text.index_copy_(0, self.index, tokens).unflatten(0, self.mask.shape)


class CrossAttention(nn.Module):
    """Softmax attention from image tokens to text tokens (SANA, arXiv:2410.10629, section 2.2).

    Args:
        hidden_size: channels of image and (projected) text tokens, a multiple of ``head_dim``.
        head_dim: channels of a head.
        qk_norm: RMS norm of queries and keys over all heads together (SANA-1.5).
        qk_norm_eps: epsilon of those norms.
    """

    def __init__(self, hidden_size: int, *, head_dim: int, qk_norm: bool, qk_norm_eps: float) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.q = Linear(hidden_size, hidden_size)
        self.kv = nn.Linear(hidden_size, 2 * hidden_size)
        self.norm_q = RMSNorm(hidden_size, eps=qk_norm_eps) if qk_norm else nn.Identity()
        self.norm_k = RMSNorm(hidden_size, eps=qk_norm_eps) if qk_norm else nn.Identity()
        self.out = Linear(hidden_size, hidden_size)

    def prepare(self, text: Tensor, places: Places | None = None) -> tuple[Tensor, Tensor]:
        """Text ``(B, L, C)``, or what ``places`` took of it, to keys and values, each ``(B, heads, L, D)``."""
        k, v = self.kv(text).chunk(2, dim=-1)
        k = self.norm_k(k)
        if places is not None:
            k, v = places.put(k), places.put(v)
        return self._heads(k), self._heads(v)

    def fold(self, keys: Tensor, values: Tensor, seen: Tensor) -> FoldedText | None:
        """A row of keys and values, ``(heads, L, D)`` of which ``seen`` ``(L,)`` counts, in the form that is quickest
        for many steps; None where that is the plain one, or where somebody watches what the projections are given."""
        if watched(self.q) or watched(self.out):
            return None
        keys, values = keys[:, seen], values[:, seen]
        num_heads, length, _ = keys.shape
        if length == 1:
            return FoldedText(None, None, self.out(values.transpose(0, 1).flatten(1)), num_heads)
        plain = type(self.q) is type(self.out) is Linear and isinstance(self.norm_q, nn.Identity)
        if not plain or not length or not pays(self.q.out_features, num_heads, length):
            return None
        return fold(keys, values, _wide(self.q), _wide(self.out))

    def forward(self, x: Tensor, text: AttendedText) -> Tensor:
        """Tokens ``(B, N, C)`` to what is added to them, ``(B, N, C)``."""
        if not any(text.folded):
            return self.out(attend(self.norm_q(self.q(x)), *text[:3]))
        rows = [
            self._attended(own, text, row) if folded is None else folded(own).expand_as(own)
            for row, (own, folded) in enumerate(zip(x.split(1), text.folded, strict=True))
        ]
        return torch.cat(rows)

    def _attended(self, own: Tensor, text: AttendedText, row: int) -> Tensor:
        with one_row(row):
            return self.out(attend(self.norm_q(self.q(own)), *(part[row : row + 1] for part in text[:3])))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)


def _wide(linear: nn.Linear) -> tuple[Tensor, Tensor | None]:
    """Weight, with what is beside it, and bias in float32, or as they are if that is wider."""
    weight = whole_weight(linear)
    return weight, None if linear.bias is None else linear.bias.to(weight.dtype)
