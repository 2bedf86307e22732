"""Softmax attention of the last tokens of a text to all before them: which they see, and the sum over these."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def visible_keys(positions: Tensor, padding: Tensor | None, window: int | None) -> Tensor:
    """Which keys every query sees, bool ``(1 or B, 1, L, num_keys)``.

    Args:
        positions: of the queries, ``(L,)``; the last one is that of the last key.
        padding: ``(B, num_keys)``, False where a key is padding, which nobody sees.
        window: how many tokens a query sees, its own included; None: all up to its own.
    """
    keys = torch.arange(int(positions[-1]) + 1, device=positions.device)
    visible = keys <= positions[:, None]
    if window is not None:
        visible &= keys > positions[:, None] - window
    return visible[None, None] if padding is None else visible & padding[:, None, None]


def attend(q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None, *, scale: float, cap: float | None) -> Tensor:
    """``(B, heads, L, D)``.

    Args:
        q: ``(B, heads, L, D)``.
        k, v: ``(B, num_kv_heads, num_keys, D)``; as many heads of queries share each.
        visible: of ``visible_keys``; None for a triangle, or all for a lone query.
        scale: of the products of queries and keys.
        cap: these are bent to stay within ``+-cap`` (Gemma 2); that needs ``visible``.
    """
    groups = q.shape[1] // k.shape[1]
    if visible is None:
        return F.scaled_dot_product_attention(q, k, v, scale=scale, is_causal=q.shape[2] > 1, enable_gqa=groups > 1)
    k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
    if cap is None:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=visible, scale=scale)
    logits = torch.tanh(q @ k.mT * scale / cap) * cap
    logits = logits.masked_fill(~visible, torch.finfo(logits.dtype).min)
    return logits.softmax(dim=-1, dtype=torch.float32).to(q.dtype) @ v
