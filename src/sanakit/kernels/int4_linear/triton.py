"""The same with a tile of weights made anew at a time, for GPUs: the matrix never lies in memory.

The channels of a byte are two apart from those of the next one, so even and odd channels are two products.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sanakit.kernels.triton_language import product_dtype, tl, triton

ROWS, COLUMNS, BYTES = 64, 64, 32  # of a tile


def four_bit_linear(x: Tensor, packed: Tensor, scale: Tensor, levels: Tensor, bias: Tensor | None = None) -> Tensor:
    """As the reference; weights are rounded to the dtype of ``x`` as there."""
    rows = x.reshape(-1, x.shape[-1]).contiguous()
    (num_rows, channels), (columns, num_bytes) = rows.shape, packed.shape
    y = torch.empty(num_rows, columns, dtype=x.dtype, device=x.device)
    _multiply[triton.cdiv(num_rows, ROWS), triton.cdiv(columns, COLUMNS)](
        rows, packed, scale, levels, levels if bias is None else bias, y,
        num_rows, columns, channels, num_bytes, scale.shape[1], num_bytes // scale.shape[1],
        HAS_BIAS=bias is not None, ROWS=ROWS, COLUMNS=COLUMNS, BYTES=BYTES,
        DTYPE=product_dtype(x.dtype),
    )  # fmt: skip
    return y.view(*x.shape[:-1], columns)


@triton.jit
def _multiply(
    x, packed, scale, levels, bias, y, num_rows, columns, channels, num_bytes, groups, bytes_of_group,
    HAS_BIAS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, BYTES: tl.constexpr,
    DTYPE: tl.constexpr,
):  # fmt: skip
    """``x @ (levels[codes] * scale).T + bias``."""
    m = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)
    n = (tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)).to(tl.int64)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(0, num_bytes, BYTES):
        k = start + tl.arange(0, BYTES)
        inside = (k < num_bytes)[:, None] & (n < columns)[None, :]
        codes = tl.load(packed + n[None, :] * num_bytes + k[:, None], mask=inside, other=0).to(tl.int32)
        s = tl.load(scale + n[None, :] * groups + k[:, None] // bytes_of_group, mask=inside, other=0.0).to(tl.float32)
        at, there = x + m[:, None] * channels + 2 * k[None, :], (m < num_rows)[:, None]
        even = tl.load(at, mask=there & (2 * k < channels)[None, :], other=0.0).to(DTYPE)
        odd = tl.load(at + 1, mask=there & (2 * k + 1 < channels)[None, :], other=0.0).to(DTYPE)
        low = (tl.load(levels + (codes & 15)) * s).to(x.dtype.element_ty).to(DTYPE)
        high = (tl.load(levels + (codes >> 4)) * s).to(x.dtype.element_ty).to(DTYPE)
        total = tl.dot(even, low, total, input_precision="ieee")
        total = tl.dot(odd, high, total, input_precision="ieee")
    if HAS_BIAS:
        total += tl.load(bias + n, mask=n < columns, other=0.0).to(tl.float32)[None, :]
    tl.store(y + m[:, None] * columns + n[None, :], total, mask=(m < num_rows)[:, None] & (n < columns)[None, :])
