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
    return read_sums(q, *key_sums(k, v), eps=eps).to(v.dtype)


def turned_linear_attention(q: Tensor, k: Tensor, v: Tensor, turns: Tensor, *, eps: float) -> Tensor:
    """The same with rotary positions: ``out_i = sum_j (R_i relu(q_i) . R_j relu(k_j)) v_j / (sum_j relu(q_i) .
    relu(k_j) + eps)``. Turned vectors may point apart, so that the normaliser, which must not change its sign, is of
    those that are not turned.

    Args:
        q, k, v: as above.
        turns: ``(N, D / 2)`` complex, what each pair of channels of a token is multiplied with.
        eps: as above.

    Source: SANA-Video, arXiv:2509.24695, equation 2.
    """
    return read_sums(q, *key_sums(k, v, turns), eps=eps, turns=turns).to(v.dtype)


def turned(x: Tensor, turns: Tensor) -> Tensor:
    """``(..., N, D)``, float32 or wider, with each pair of neighbouring channels turned by its token's position."""
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * turns).flatten(-2)


def key_sums(k: Tensor, v: Tensor, turns: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """``sum_j relu(k_j) v_j`` ``(B, heads, D, D)``, of keys that are turned where there are ``turns``, and ``sum_j
    relu(k_j)`` ``(B, heads, 1, D)``, float32 or wider; those of parts of the tokens add up to those of all. ShapeError
    where there are not as many keys as values."""
    if k.shape[-2] != v.shape[-2]:
        raise ShapeError(f"k has {k.shape[-2]} tokens and v has {v.shape[-2]}; each key needs one value")
    wide = torch.promote_types(v.dtype, torch.float32)
    with _as_they_are(v):
        k = F.relu(k).to(wide)
        return (k if turns is None else turned(k, turns)).mT @ v.to(wide), k.sum(dim=-2, keepdim=True)


def read_sums(q: Tensor, state: Tensor, total: Tensor, *, eps: float, turns: Tensor | None = None) -> Tensor:
    """What queries, turned where there are ``turns``, find in the sums over all keys, in the dtype of these."""
    with _as_they_are(state):
        q = F.relu(q).to(state.dtype)
        return (q if turns is None else turned(q, turns)) @ state / (q @ total.mT + eps)


def _as_they_are(x: Tensor) -> torch.autocast:
    """Without autocast, which would round the products to half precision, and which knows no meta device."""
    return torch.autocast(x.device.type if x.device.type != "meta" else "cpu", enabled=False)
