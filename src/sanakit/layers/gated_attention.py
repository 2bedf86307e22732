"""Linear attention of SANA-Video 2.0: keys weighed by a gate, a norm of every head, and a gate of what comes out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sanakit.layers.linear import Linear
from sanakit.layers.norms import RMSNorm
from sanakit.layers.rotary import turned


class GatedLinearAttention(nn.Module):
    """``sum_j beta_j (R_i q_i . R_j k_j) v_j / (sum_j relu(q_i) . relu(k_j) + eps)``, whose numerator may be negative.

    Args:
        hidden_size: channels of a token, a multiple of ``head_dim``.
        head_dim: channels of a head.
        eps: added to the normaliser.
        norm_eps: epsilon of the norms of queries and keys, over all heads together, and of the heads that come out.

    Source: SANA-Video 2.0 (NVlabs/Sana).
    """

    def __init__(self, hidden_size: int, *, head_dim: int, eps: float = 1e-8, norm_eps: float = 1e-5) -> None:
        super().__init__()
        self.head_dim, self.eps = head_dim, eps
        self.qkv = Linear(hidden_size, 3 * hidden_size, bias=False)
        self.norm_q, self.norm_k = (RMSNorm(hidden_size, eps=norm_eps) for _ in range(2))
        self.beta = Linear(hidden_size, hidden_size // head_dim)
        self.norm_out = RMSNorm(head_dim, eps=norm_eps)
        self.gate, self.out = Linear(hidden_size, hidden_size), Linear(hidden_size, hidden_size)

    def forward(self, x: Tensor, turns: Tensor) -> Tensor:
        """``(B, N, C)`` to ``(B, N, C)``; ``turns (N, D / 2)`` complex are the rotary positions of tokens. Sums run in
        float32 or wider."""
        q, k, v = self.qkv(x).chunk(3, dim=-1)  # (B, N, C) each
        wide = torch.promote_types(x.dtype, torch.float32)
        q, k, v = (self._heads(each).to(wide) for each in (self.norm_q(q), self.norm_k(k), v))  # (B, heads, N, D)
        beta = torch.sigmoid(self.beta(x)).to(wide).mT[..., None]  # (B, heads, N, 1)
        state = (turned(k, turns, halves=False) * beta).mT @ v  # (B, heads, D, D)
        total = F.relu(k).sum(dim=-2, keepdim=True)  # (B, heads, 1, D)
        mixed = turned(q, turns, halves=False) @ state / (F.relu(q) @ total.mT + self.eps)
        mixed = self.norm_out(mixed).to(x.dtype).transpose(1, 2).flatten(2)  # (B, N, C)
        return self.out(mixed * torch.sigmoid(self.gate(x)))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
