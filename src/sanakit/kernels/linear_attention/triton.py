"""The same in two kernels, for GPUs: sums over the keys, then a product with every query and its division.

The sums of a head are cut into parts of its tokens, which run side by side and are added in a fixed order: the bits
depend neither on chance nor on the rows beside.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sanakit.kernels.triton_language import product_dtype, tl, triton

TOKENS = 64  # of a tile
PARTS = 16  # of the tokens at most, and of four tiles or more


def linear_attention(q: Tensor, k: Tensor, v: Tensor, *, eps: float) -> Tensor:
    """As the reference, with channels that lie next to each other; ``(B, heads, N, D)``, of which the heads of a token
    lie together in memory."""
    batch, heads, num_keys, size = k.shape
    num_queries, width = q.shape[2], max(triton.next_power_of_2(size), 16)
    parts = min(triton.cdiv(num_keys, 4 * TOKENS), PARTS)
    part = triton.cdiv(num_keys, parts * TOKENS) * TOKENS  # tokens
    state = torch.empty(batch * heads, parts, size, size, dtype=torch.float32, device=v.device)
    total = torch.empty(batch * heads, parts, size, dtype=torch.float32, device=v.device)
    _sum_keys[batch * heads, parts](
        k, v, state, total, *k.stride()[:3], *v.stride()[:3], heads, num_keys, part,
        D=size, WIDTH=width, TILE=TOKENS, DTYPE=product_dtype(v.dtype),
    )  # fmt: skip
    out = torch.empty(batch, num_queries, heads, size, dtype=v.dtype, device=v.device).transpose(1, 2)
    _read_by_queries[batch * heads, triton.cdiv(num_queries, TOKENS)](
        q, state.sum(1), total.sum(1), out, *q.stride()[:3], *out.stride()[:3], heads, num_queries, eps,
        D=size, WIDTH=width, TILE=TOKENS,
    )  # fmt: skip
    return out


@triton.jit
def _sum_keys(
    k, v, state, total, k_row, k_head, k_token, v_row, v_head, v_token, heads, num_tokens, part,
    D: tl.constexpr, WIDTH: tl.constexpr, TILE: tl.constexpr, DTYPE: tl.constexpr,
):  # fmt: skip
    """``sum_j relu(k_j) v_j^T`` and ``sum_j relu(k_j)`` of one head over one part of the tokens, in float32."""
    row, head = (tl.program_id(0) // heads).to(tl.int64), tl.program_id(0) % heads
    k += row * k_row + head * k_head
    v += row * v_row + head * v_head
    d = tl.arange(0, WIDTH)
    s = tl.zeros((WIDTH, WIDTH), tl.float32)
    z = tl.zeros((WIDTH,), tl.float32)
    first = tl.program_id(1) * part
    for start in range(first, first + part, TILE):
        j = start + tl.arange(0, TILE)
        seen = (j < num_tokens)[:, None] & (d < D)[None, :]
        keys = tl.load(k + j[:, None] * k_token + d[None, :], mask=seen, other=0.0).to(tl.float32)
        keys = tl.maximum(keys, 0.0)
        values = tl.load(v + j[:, None] * v_token + d[None, :], mask=seen, other=0.0).to(DTYPE)
        s = tl.dot(tl.trans(keys.to(DTYPE)), values, s, input_precision="ieee")
        z += tl.sum(keys, axis=0)
    at = tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)
    inside = (d < D)[:, None] & (d < D)[None, :]
    tl.store(state + at * D * D + d[:, None] * D + d[None, :], s, mask=inside)
    tl.store(total + at * D + d, z, mask=d < D)


@triton.jit
def _read_by_queries(
    q, state, total, out, q_row, q_head, q_token, out_row, out_head, out_token, heads, num_tokens, eps,
    D: tl.constexpr, WIDTH: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """``relu(q_i)^T S / (relu(q_i) . z + eps)`` for a tile of queries of one head."""
    at = tl.program_id(0)
    row, head = (at // heads).to(tl.int64), at % heads
    d, i = tl.arange(0, WIDTH), tl.program_id(1) * TILE + tl.arange(0, TILE)
    seen = (i < num_tokens)[:, None] & (d < D)[None, :]
    queries = tl.load(q + row * q_row + head * q_head + i[:, None] * q_token + d[None, :], mask=seen, other=0.0)
    queries = tl.maximum(queries.to(tl.float32), 0.0)
    inside = (d < D)[:, None] & (d < D)[None, :]
    s = tl.load(state + at * D * D + d[:, None] * D + d[None, :], mask=inside, other=0.0)
    z = tl.load(total + at * D + d, mask=d < D, other=0.0)
    y = tl.dot(queries, s, input_precision="ieee") / (tl.sum(queries * z[None, :], axis=1) + eps)[:, None]
    tl.store(out + row * out_row + head * out_head + i[:, None] * out_token + d[None, :], y, mask=seen)
