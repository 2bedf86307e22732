"""Weights of four bits and svdquant's layer against their definitions."""

from __future__ import annotations

import pytest
import torch

from sanakit.kernels.int4_linear import INT4, NF4, four_bit_linear, four_bit_weight, pack_nibbles
from sanakit.kernels.svdquant_linear import LowRank, round_groups, svdquant_linear


@pytest.mark.parametrize("levels", [INT4, NF4])
def test_a_weight_is_a_level_times_the_scale_of_its_group(levels: tuple[float, ...]) -> None:
    g = torch.Generator().manual_seed(0)
    codes, scale = torch.randint(0, 16, (3, 8), generator=g), torch.rand(3, 2, generator=g)
    table = torch.tensor(levels)
    expected = torch.stack([table[codes[i, j]] * scale[i, j // 4] for i in range(3) for j in range(7)]).view(3, 7)
    packed = pack_nibbles(codes)
    assert packed.shape == (3, 4)
    assert packed.dtype == torch.uint8
    assert torch.equal(four_bit_weight(packed, scale, table, 7), expected)
    x, bias = torch.randn(2, 5, 7, generator=g), torch.randn(3, generator=g)
    torch.testing.assert_close(four_bit_linear(x, packed, scale, table, bias), x @ expected.mT + bias)


def test_bytes_hold_the_earlier_channel_below() -> None:
    assert pack_nibbles(torch.tensor([[1, 15, 0, 2]])).tolist() == [[0xF1, 0x20]]


def test_activations_have_a_scale_for_each_group() -> None:
    rows = torch.tensor([[7.0, 3.4, -70.0, 14.0, 0.0]])
    assert round_groups(rows, 2).tolist() == [[7.0, 3.0, -70.0, 10.0, 0.0]]


def test_svdquant_is_its_formula() -> None:
    g = torch.Generator().manual_seed(1)
    x, bias = torch.randn(2, 3, 8, generator=g), torch.randn(5, generator=g)
    codes, scale = torch.randint(0, 16, (5, 8), generator=g), torch.rand(5, 2, generator=g)
    smooth, down, up = torch.rand(8, generator=g) + 0.5, torch.randn(2, 8, generator=g), torch.randn(5, 2, generator=g)
    weight = (codes - 8) * scale.repeat_interleave(4, dim=1)
    rounded = round_groups((x / smooth).view(6, 8), 4).view(2, 3, 8)
    expected = rounded @ weight.mT + x @ down.mT @ up.mT + bias
    found = svdquant_linear(x, pack_nibbles(codes), scale, LowRank(smooth, down, up), bias)
    torch.testing.assert_close(found, expected)
