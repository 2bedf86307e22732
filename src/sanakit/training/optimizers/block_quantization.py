"""Rows of numbers in eight bits: each run of at most ``block_size`` has its smallest value and its own scale.

A block lies within one row, so that it stays whole however rows are spread over processes: a state that was saved by
four of them means the same to two. A row is cut into blocks of one length, the last one possibly shorter.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sanakit.common.errors import ShapeError


def num_blocks(columns: int, block_size: int) -> int:
    """Blocks of a row."""
    return -(-columns // block_size)


def quantize_rows(values: Tensor, block_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """``values (rows, columns)`` to codes ``(rows, columns)`` uint8, and smallest values and scales ``(rows, blocks)``.

    A value is off by half a scale at most, which is 1/510 of the range of its block (and rounding).
    """
    if values.ndim != 2:
        raise ShapeError(f"only matrices are quantised by rows, not a tensor {tuple(values.shape)}")
    columns = values.shape[1]
    blocks = _in_blocks(values, block_size)  # (rows, blocks, length)
    smallest = blocks.amin(-1)
    scale = (blocks.amax(-1) - smallest) / 255
    steps = (blocks - smallest[..., None]) / scale.masked_fill(scale == 0, 1.0)[..., None]
    codes = steps.round().clamp(0, 255).to(torch.uint8)
    return codes.flatten(1)[:, :columns].contiguous(), smallest, scale


def dequantize_rows(codes: Tensor, smallest: Tensor, scale: Tensor, block_size: int) -> Tensor:
    """The values of ``quantize_rows`` back, ``(rows, columns)`` in the dtype of ``scale``."""
    columns = codes.shape[1]
    blocks = _in_blocks(codes, block_size).to(scale.dtype)
    return (blocks * scale[..., None] + smallest[..., None]).flatten(1)[:, :columns]


def _in_blocks(values: Tensor, block_size: int) -> Tensor:
    """``(rows, columns)`` to ``(rows, blocks, length)``; a short last block repeats the row's last value."""
    rows, columns = values.shape
    blocks = num_blocks(columns, block_size)
    length = -(-columns // blocks)
    missing = blocks * length - columns
    if missing:
        values = torch.cat([values, values[:, -1:].expand(rows, missing)], dim=1)
    return values.reshape(rows, blocks, length)
