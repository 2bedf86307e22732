"""ReLU linear attention, the formula in plain PyTorch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sanakit.common.errors import ShapeError


def linear_attention(q: Tensor, k: Tensor, v: Tensor, *, eps: float = 1e-15) -> Tensor:
    """ReLU attention whose cost grows linearly with the number of tokens.

    ``out_i = sum_j (relu(q_i) . relu(k_j)) v_j / (sum_j relu(q_i) . relu(k_j) + eps)``, computed through the
    ``(D, D)`` state ``sum_j relu(k_j) v_j`` so that no ``(N, N)`` matrix is ever made.

    Args:
        q, k, v: queries, keys and values, each ``(B, heads, N, D)``.
        eps: added to the normaliser, so that a query without a single positive channel gives zero.

    Returns:
        ``(B, heads, N, D)`` in the dtype of ``v``; sums run in float32 or wider.

    Raises:
        ShapeError: ``k`` and ``v`` hold different numbers of tokens.

    Source: SANA, arXiv:2410.10629, section 2.2.
    """
    if k.shape[-2] != v.shape[-2]:
        raise ShapeError(f"k has {k.shape[-2]} tokens and v has {v.shape[-2]}; each key needs one value")
    wide = torch.promote_types(v.dtype, torch.float32)
    device = v.device.type if v.device.type != "meta" else "cpu"  # autocast knows no meta device
    with torch.autocast(device, enabled=False):  # which would round the products to half precision
        q, k = F.relu(q).to(wide), F.relu(k).to(wide)
        state = k.mT @ v.to(wide)  # (B, heads, D, D)
        total = k.sum(dim=-2, keepdim=True)  # (B, heads, 1, D)
        return (q @ state / (q @ total.mT + eps)).to(v.dtype)
