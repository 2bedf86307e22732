"""The same in two kernels, for GPUs: rows are rounded, and the product takes scales and bias with it."""

from __future__ import annotations

import torch
from torch import Tensor

from sanakit.kernels.int8_linear.reference import LARGEST
from sanakit.kernels.triton_language import tl, triton

ROWS, COLUMNS, CHANNELS = 128, 128, 64  # of a tile


def int8_linear(x: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor | None = None) -> Tensor:
    """As the reference; whole numbers are summed as such, so that only the last rounding may differ."""
    rows = x.reshape(-1, x.shape[-1]).contiguous()
    (num_rows, channels), columns = rows.shape, weight.shape[0]
    whole = torch.empty(rows.shape, dtype=torch.int8, device=x.device)
    scale = torch.empty(num_rows, dtype=torch.float32, device=x.device)
    _round_rows[num_rows,](rows, whole, scale, channels, float(LARGEST), WIDTH=triton.next_power_of_2(channels))
    y = torch.empty(num_rows, columns, dtype=x.dtype, device=x.device)
    _multiply[triton.cdiv(num_rows, ROWS), triton.cdiv(columns, COLUMNS)](
        whole, weight.contiguous(), scale, weight_scale, weight_scale if bias is None else bias, y,
        num_rows, columns, channels, HAS_BIAS=bias is not None, ROWS=ROWS, COLUMNS=COLUMNS, CHANNELS=CHANNELS,
        num_warps=8,
    )  # fmt: skip
    return y.view(*x.shape[:-1], columns)


@triton.jit
def _round_rows(x, whole, scale, channels, largest, WIDTH: tl.constexpr):
    """A row in whole numbers, ties to even; one that holds no numbers has a scale that is none."""
    row, c = tl.program_id(0).to(tl.int64), tl.arange(0, WIDTH)
    seen = c < channels
    v = tl.load(x + row * channels + c, mask=seen, other=0.0).to(tl.float32)
    s = tl.div_rn(tl.max(tl.abs(v), axis=0), largest)
    s = tl.where(tl.sum(v - v, axis=0) == 0.0, s, float("nan"))
    v = tl.div_rn(v, tl.maximum(s, 1.1754943508222875e-38))  # to the last bit, which decides a tie
    v = (v + 12582912.0) - 12582912.0  # beside 1.5 * 2**23 float32 has whole numbers only
    tl.store(whole + row * channels + c, v.to(tl.int8), mask=seen)
    tl.store(scale + row, s)


@triton.jit
def _multiply(
    a, b, a_scale, b_scale, bias, y, num_rows, columns, channels,
    HAS_BIAS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """``a @ b.T`` of whole numbers, times both scales, plus the bias."""
    m = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)
    n = (tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)).to(tl.int64)
    total = tl.zeros((ROWS, COLUMNS), tl.int32)
    for start in range(0, channels, CHANNELS):
        c = start + tl.arange(0, CHANNELS)
        left = (m < num_rows)[:, None] & (c < channels)[None, :]
        right = (c < channels)[:, None] & (n < columns)[None, :]
        from_a = tl.load(a + m[:, None] * channels + c[None, :], mask=left, other=0)
        from_b = tl.load(b + n[None, :] * channels + c[:, None], mask=right, other=0)
        total = tl.dot(from_a, from_b, total, out_dtype=tl.int32)
    by_row = tl.load(a_scale + m, mask=m < num_rows, other=0.0)
    by_column = tl.load(b_scale + n, mask=n < columns, other=0.0)
    out = total.to(tl.float32) * by_row[:, None] * by_column[None, :]
    if HAS_BIAS:
        out += tl.load(bias + n, mask=n < columns, other=0.0).to(tl.float32)[None, :]
    tl.store(y + m[:, None] * columns + n[None, :], out, mask=(m < num_rows)[:, None] & (n < columns)[None, :])
