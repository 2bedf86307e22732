"""NVFP4: its grid, its scales, the errors that are published for it, and a layer that takes it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from sanakit.kernels.nvfp4_linear import nvfp4_linear, nvfp4_weight, round_to_nvfp4
from sanakit.quantization.quantize import quantize_
from sanakit.quantization.schemes import NVFP4

GRID = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


def rounded(x: torch.Tensor) -> torch.Tensor:
    return nvfp4_weight(round_to_nvfp4(x), x.shape[1])


def test_every_value_of_the_grid_stays() -> None:
    x = torch.tensor([[*GRID, *(-value for value in GRID)]])
    assert torch.equal(rounded(x), x)
    assert torch.equal(rounded(64 * x), 64 * x)


@pytest.mark.parametrize(
    ("value", "nearest"),
    [(0.2, 0.0), (0.25, 0.0), (0.26, 0.5), (0.75, 1.0), (1.25, 1.0), (1.75, 2.0), (2.5, 2.0), (2.6, 3.0), (3.5, 4.0),
     (5.0, 4.0), (5.1, 6.0), (-2.5, -2.0), (-0.75, -1.0), (-0.1, 0.0)],
)  # fmt: skip
def test_others_go_to_the_nearest_and_halfway_to_the_even_one(value: float, nearest: float) -> None:
    x = torch.zeros(1, 16)
    x[0, :2] = torch.tensor([6.0, value])
    assert rounded(x)[0, 1].item() == nearest


def test_a_block_has_a_scale_of_its_own_in_eight_bits() -> None:
    x = torch.zeros(1, 48)
    x[0, :16], x[0, 20] = 12.0, 0.013
    _, scale, whole = round_to_nvfp4(x)
    assert scale.dtype == torch.float8_e4m3fn
    assert whole.item() == pytest.approx(12 / (6 * 448))
    assert scale[0].tolist()[::2] == [448.0, 0.0]  # the last block is zeros
    expected = (torch.tensor(0.013) / (6 * whole)).to(torch.float8_e4m3fn)
    assert scale[0, 1] == expected
    assert rounded(x)[0, 20].item() == pytest.approx(6 * expected.item() * whole.item())
    assert rounded(x)[0, 20].item() == pytest.approx(0.013, rel=0.07)  # three bits of the scale


def test_errors_of_normal_numbers_are_those_that_were_measured() -> None:
    g = torch.Generator().manual_seed(0)
    weight, x = torch.randn(256, 512, generator=g), torch.randn(256, 512, generator=g)
    error = ((rounded(weight) - weight).square().mean() / weight.square().mean()).sqrt().item()
    assert error == pytest.approx(0.095, rel=0.1)
    found, exact = nvfp4_linear(x, rounded(weight)), x @ weight.mT
    assert ((found - exact).square().mean() / exact.square().mean()).sqrt().item() == pytest.approx(0.134, rel=0.1)


@pytest.mark.parametrize("columns", [1, 15, 16, 33])
def test_blocks_are_filled_up(columns: int) -> None:
    x = torch.randn(3, columns, generator=torch.Generator().manual_seed(1))
    assert rounded(x).shape == x.shape
    assert torch.equal(rounded(torch.zeros(3, columns)), torch.zeros(3, columns))


def test_company_changes_nothing() -> None:
    x = (
        torch.randn(3, 5, 32, generator=torch.Generator().manual_seed(2))
        * torch.tensor([1.0, 50.0, 0.1])[:, None, None]
    )
    weight = rounded(torch.randn(8, 32, generator=torch.Generator().manual_seed(3)))
    together = nvfp4_linear(x, weight)
    for row in range(3):
        torch.testing.assert_close(nvfp4_linear(x[row : row + 1], weight)[0], together[row])
    assert nvfp4_linear(x[0, 0], weight).shape == (8,)


def test_a_layer_takes_it() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(48, 24)).requires_grad_(False)
    weight, bias = network[0].weight.clone(), network[0].bias.clone()
    quantize_(network, NVFP4())
    x = torch.randn(2, 7, 48)
    torch.testing.assert_close(network(x), nvfp4_linear(x, rounded(weight), bias))
    close = F.linear(x, weight, bias)
    assert (network(x) - close).square().mean() < 0.05 * close.square().mean()
    assert network(x.bfloat16()).dtype == torch.bfloat16
