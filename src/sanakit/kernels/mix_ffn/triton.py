"""The same in one pass, for GPUs: a strip of pixels moves down the picture, and each of its SiLUs is taken three times.

A row of the input adds to three rows of the output, of which two are on their way at any time.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sanakit.kernels.triton_language import tl, triton

ROWS, COLUMNS, CHANNELS = 8, 8, 128  # of a program


def gated_depthwise(tokens: Tensor, weight: Tensor, bias: Tensor, *, height: int, width: int) -> Tensor:
    """As the reference, of what fits; ``(B, N, 2M)`` to ``(B, N, M)``, rounded once."""
    batch, num_tokens, channels = tokens.shape
    inner = channels // 2
    y = torch.empty(batch, num_tokens, inner, dtype=tokens.dtype, device=tokens.device)
    strips = triton.cdiv(height, ROWS) * triton.cdiv(width, COLUMNS)
    _gated_depthwise[strips, triton.cdiv(inner, CHANNELS), batch](
        tokens.contiguous(), weight.contiguous(), bias, y, height, width, inner,
        ROWS=ROWS, COLUMNS=COLUMNS, CHANNELS=CHANNELS,
    )  # fmt: skip
    return y


@triton.jit
def _gated_depthwise(
    x, weight, bias, y, height, width, inner, ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHANNELS: tl.constexpr
):
    across = tl.cdiv(width, COLUMNS)
    first = tl.program_id(0) // across * ROWS
    columns = tl.program_id(0) % across * COLUMNS + tl.arange(0, COLUMNS)
    value_channels = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    seen = value_channels < inner
    gate_channels = inner + value_channels
    picture = tl.program_id(2).to(tl.int64) * height * width
    x += picture * 2 * inner
    y += picture * inner
    nothing = tl.zeros((COLUMNS, CHANNELS), tl.float32)
    value_bias = nothing + tl.load(bias + value_channels, mask=seen, other=0.0).to(tl.float32)[None, :]
    gate_bias = nothing + tl.load(bias + gate_channels, mask=seen, other=0.0).to(tl.float32)[None, :]
    value_before, gate_before, value, gate = value_bias, gate_bias, value_bias, gate_bias  # of rows r - 1 and r
    for step in range(ROWS + 2):
        r = first + step - 1
        rows = r + tl.zeros((COLUMNS,), tl.int32)  # of the columns: Triton's interpreter spreads no single condition
        inside = (rows >= 0) & (rows < height)
        v0, v1, v2 = _of_row(x, weight, r, columns, value_channels, inside, seen, width, 2 * inner)
        g0, g1, g2 = _of_row(x, weight, r, columns, gate_channels, inside, seen, width, 2 * inner)
        value_before += v2
        gate_before += g2
        done = (columns < width) & (rows > first) & (rows <= height) & (rows <= first + ROWS)
        out = value_before * gate_before * tl.sigmoid(gate_before)
        at = y + ((r - 1) * width + columns)[:, None] * inner + value_channels[None, :]
        tl.store(at, out, mask=done[:, None] & seen[None, :])
        value_before, gate_before = value + v1, gate + g1
        value, gate = value_bias + v0, gate_bias + g0


@triton.jit
def _of_row(x, weight, r, columns, channels, inside, seen, width, num_channels):
    """What row ``r`` of ``SiLU(x)`` adds to rows ``r + 1``, ``r`` and ``r - 1``, which see it in their rows 0, 1, 2."""
    below = tl.zeros((columns.shape[0], channels.shape[0]), tl.float32)
    here, above = below, below
    for dx in tl.static_range(3):
        there = columns + (dx - 1)
        mask = ((there >= 0) & (there < width) & inside)[:, None] & seen[None, :]
        at = x + (r * width + there)[:, None] * num_channels + channels[None, :]
        s = tl.load(at, mask=mask, other=0.0).to(tl.float32)
        s = s * tl.sigmoid(s)
        w = weight + channels * 9 + dx
        below += s * tl.load(w, mask=seen, other=0.0).to(tl.float32)[None, :]
        here += s * tl.load(w + 3, mask=seen, other=0.0).to(tl.float32)[None, :]
        above += s * tl.load(w + 6, mask=seen, other=0.0).to(tl.float32)[None, :]
    return below, here, above
