"""Softmax self-attention over the tokens of a clip or a text, with rotary positions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sanakit.layers.linear import Linear
from sanakit.layers.norms import RMSNorm
from sanakit.layers.rotary import turned


class SoftmaxAttention(nn.Module):
    """Every token looks at all others; first ones may be a sink, which looks at itself alone and is seen by all.

    Args:
        hidden_size: channels of a token, a multiple of ``head_dim``.
        head_dim: channels of a head.
        qk_norm_eps: epsilon of the RMS norms of queries and keys, over all heads together.
        halves: a channel's partner in the rotary positions is half a head away, and not its neighbour.
        gated: what comes out is weighed channel by channel (SANA-Video 2.0), and queries, keys and values have no bias.
    """

    def __init__(
        self, hidden_size: int, *, head_dim: int, qk_norm_eps: float, halves: bool = False, gated: bool = False
    ) -> None:
        super().__init__()
        self.head_dim, self.halves = head_dim, halves
        self.qkv = Linear(hidden_size, 3 * hidden_size, bias=not gated)
        self.norm_q, self.norm_k = (RMSNorm(hidden_size, eps=qk_norm_eps) for _ in range(2))
        self.gate = Linear(hidden_size, hidden_size) if gated else None
        self.out = Linear(hidden_size, hidden_size)

    def forward(self, x: Tensor, turns: Tensor, *, sink: int = 0) -> Tensor:
        """``(B, N, C)`` to ``(B, N, C)``.

        Args:
            x: tokens.
            turns: ``(..., heads, N, D / 2)`` complex, their rotary positions.
            sink: so many tokens at the beginning see one another and nobody else.
        """
        q, k, v = self.qkv(x).chunk(3, dim=-1)  # (B, N, C) each
        q, k, v = map(self._heads, (self.norm_q(q), self.norm_k(k), v))  # (B, heads, N, D) each
        q, k = (turned(each, turns, halves=self.halves) for each in (q, k))
        mixed = F.scaled_dot_product_attention(q[:, :, sink:], k, v)
        if sink:
            alone = F.scaled_dot_product_attention(q[:, :, :sink], k[:, :, :sink], v[:, :, :sink])
            mixed = torch.cat([alone, mixed], dim=2)
        mixed = mixed.transpose(1, 2).flatten(2)  # (B, N, C)
        return self.out(mixed if self.gate is None else mixed * torch.sigmoid(self.gate(x)))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
