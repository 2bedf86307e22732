"""Cross-attention to the text: keys and values come once per prompt, queries once per step."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from sanakit.layers.norms import RMSNorm


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
        self.q = nn.Linear(hidden_size, hidden_size)
        self.kv = nn.Linear(hidden_size, 2 * hidden_size)
        self.norm_q = RMSNorm(hidden_size, eps=qk_norm_eps) if qk_norm else nn.Identity()
        self.norm_k = RMSNorm(hidden_size, eps=qk_norm_eps) if qk_norm else nn.Identity()
        self.out = nn.Linear(hidden_size, hidden_size)

    def prepare(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """Text ``(B, L, C)`` to keys and values, each ``(B, heads, L, D)``."""
        k, v = self.kv(text).chunk(2, dim=-1)
        return self._heads(self.norm_k(k)), self._heads(v)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """Tokens ``(B, N, C)`` to ``(B, N, C)``; ``mask`` is ``(B, 1, 1, L)`` bool, True where text may be seen."""
        q = self._heads(self.norm_q(self.q(x)))  # (B, heads, N, D)
        mixed = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
