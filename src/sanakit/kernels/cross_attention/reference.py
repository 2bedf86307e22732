"""Softmax attention to the text, between the projections of queries and of the output."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """Queries ``(B, N, C)``, keys and values ``(B, heads, L, D)``, and ``mask`` ``(B, 1, 1, L)`` to ``(B, N, C)``."""
    heads = queries.unflatten(-1, (-1, keys.shape[-1])).transpose(1, 2)  # (B, heads, N, D)
    return F.scaled_dot_product_attention(heads, keys, values, attn_mask=mask).transpose(1, 2).flatten(2)
