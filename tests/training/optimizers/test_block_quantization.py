"""Eight bits against a definition that goes a value at a time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sanakit.common.errors import ShapeError
from sanakit.training.optimizers.block_quantization import dequantize_rows, num_blocks, quantize_rows


def values(rows: int, columns: int) -> Tensor:
    g = torch.Generator().manual_seed(0)
    return torch.randn(rows, columns, generator=g, dtype=torch.float64) * torch.logspace(-6, 3, rows)[:, None]


@pytest.mark.parametrize(("columns", "block_size", "length"), [(7, 16, 7), (16, 16, 16), (17, 16, 9), (50, 16, 13)])
def test_each_block_has_its_own_range(columns: int, block_size: int, length: int) -> None:
    x = values(5, columns)
    codes, smallest, scale = quantize_rows(x, block_size)
    back = dequantize_rows(codes, smallest, scale, block_size)
    assert (codes.dtype, codes.shape, scale.shape[1]) == (torch.uint8, x.shape, num_blocks(columns, block_size))
    for row in range(5):
        for block, first in enumerate(range(0, columns, length)):
            part = x[row, first : first + length].tolist()
            low, step = min(part), (max(part) - min(part)) / 255
            assert smallest[row, block] == low
            assert scale[row, block] == pytest.approx(step)
            expected = [low + step * round((value - low) / step) if step else low for value in part]
            torch.testing.assert_close(back[row, first : first + length], torch.tensor(expected, dtype=torch.float64))
            assert (back[row, first : first + length] - x[row, first : first + length]).abs().max() <= step / 2 * 1.0001


def test_equal_values_come_back_exactly() -> None:
    x = torch.tensor([[0.0] * 5, [1e-30] * 5, [-7.25] * 5])
    assert torch.equal(dequantize_rows(*quantize_rows(x, 2), 2), x)


def test_the_extremes_of_a_block_come_back() -> None:
    x = values(4, 9).float()
    back = dequantize_rows(*quantize_rows(x, 100), 100)
    assert torch.equal(back.amin(1), x.amin(1))
    torch.testing.assert_close(back.amax(1), x.amax(1))


def test_rows_do_not_know_of_each_other() -> None:
    """So that rows may be spread over any number of processes."""
    x = values(6, 40)
    whole = quantize_rows(x, 16)
    parts = [quantize_rows(part, 16) for part in (x[:1], x[1:1], x[1:])]
    for expected, pieces in zip(whole, zip(*parts, strict=True), strict=True):
        assert torch.equal(torch.cat(pieces), expected)


def test_only_matrices() -> None:
    with pytest.raises(ShapeError, match="not a tensor"):
        quantize_rows(torch.zeros(3), 8)
