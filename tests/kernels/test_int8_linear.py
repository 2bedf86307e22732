"""int8 products against their definition in float64, and the ways in which whole numbers are multiplied."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sanakit.kernels.int8_linear import int8_linear, native, reference
from sanakit.kernels.int8_linear.products import whole_number_products
from sanakit.kernels.native import library as opening

FLOAT32, DOT = "float32 products of whole numbers", "int8 dot products"


@pytest.mark.parametrize(("rows", "channels"), [(1, 7), (3, 64), (5, 200)])
@pytest.mark.parametrize("products", [FLOAT32, DOT])
def test_is_the_definition(rows: int, channels: int, products: str) -> None:
    g = torch.Generator().manual_seed(rows)
    x, bias = torch.randn(2, rows, channels, generator=g), torch.randn(9, generator=g)
    weight = torch.randint(-127, 128, (9, channels), generator=g, dtype=torch.int8)
    scale = torch.rand(9, generator=g) + 0.1
    wide = x.double()
    step = wide.abs().amax(-1, keepdim=True) / 127
    whole = (wide / step).round()
    expected = whole @ weight.double().mT * step * scale.double() + bias.double()
    found = reference.int8_linear(x, weight, scale, bias, products=products)  # type: ignore[arg-type]
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-4)


def test_both_ways_are_equal_to_the_bit_where_float32_is_exact() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.randint(-127, 128, (17, 1040), generator=g).float()
    weight = torch.randint(-127, 128, (33, 1040), generator=g, dtype=torch.int8)
    weight[0], x[0] = 127, 127  # the largest sum
    found = [whole_number_products(x, weight, products) for products in (FLOAT32, DOT)]  # type: ignore[arg-type]
    assert torch.equal(*found)
    assert found[0][0, 0] == 127 * 127 * 1040


def test_a_row_does_not_depend_on_others_and_zeros_give_the_bias() -> None:
    g = torch.Generator().manual_seed(1)
    x, bias = torch.randn(4, 16, generator=g), torch.randn(6, generator=g)
    weight, scale = torch.randint(-127, 128, (6, 16), generator=g, dtype=torch.int8), torch.full((6,), 0.01)
    x[1], x[2, 3] = 0, float("nan")
    y = int8_linear(x, weight, scale, bias)
    x[0] *= 100
    again = int8_linear(x, weight, scale, bias)
    assert torch.equal(y[3], again[3])
    assert torch.equal(y[1], bias)
    assert y[2].isnan().all()
    assert int8_linear(x.bfloat16(), weight, scale, bias).dtype == torch.bfloat16


def layer(inputs: int, outputs: int) -> tuple[Tensor, Tensor, Tensor]:
    """Weight with every byte that there is, its scales, and a bias."""
    g = torch.Generator().manual_seed(inputs)
    weight = torch.randint(-128, 128, (outputs, inputs), generator=g, dtype=torch.int8)
    return weight, torch.rand(outputs, generator=g) + 0.1, torch.randn(outputs, generator=g)


def skip_without_bytes() -> None:
    library = native.native_library()
    assert library is not None
    if not library.multiplies_bytes:
        assert not native.fits(torch.ones(1, 64, 16), *layer(16, 16))
        pytest.skip(f"{library.variant} has no products of bytes here")


@pytest.mark.usefixtures("native_everywhere")
@pytest.mark.parametrize(("tokens", "inputs", "outputs"), [(64, 16, 16), (65, 48, 80), (67, 1040, 112), (100, 80, 48)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_native_twin_in_any_company(
    tokens: int, inputs: int, outputs: int, dtype: torch.dtype, lent_threads: Any
) -> None:
    """To the last bit but one of what the reference gives, whose whole numbers it has."""
    skip_without_bytes()
    g = torch.Generator().manual_seed(tokens)
    x = (torch.randn(3, tokens, inputs, generator=g) * torch.rand(3, tokens, 1, generator=g).exp2()).to(dtype)
    weight, scale, bias = layer(inputs, outputs)
    for offsets in (bias.to(dtype), None):
        assert native.fits(x, weight, scale, offsets)
        found = []
        for threads in (1, 3):
            lent_threads(threads)
            found.append(int8_linear(x, weight, scale, offsets))
        expected = reference.int8_linear(x, weight, scale, offsets, products=DOT)
        assert torch.equal(*found)
        assert torch.equal(int8_linear(x[1:2], weight, scale, offsets), found[0][1:2])
        assert found[0].dtype == dtype
        tolerance = 2**-8 if dtype == torch.bfloat16 else 3e-7
        torch.testing.assert_close(found[0], expected, rtol=tolerance, atol=3e-7 * float(expected.abs().max()))


@pytest.mark.usefixtures("native_everywhere")
def test_the_native_twin_with_extremes_layouts_and_what_is_no_number() -> None:
    skip_without_bytes()
    weight, scale, bias = torch.full((16, 4096), -128, dtype=torch.int8), torch.ones(16), torch.ones(16)
    x = torch.full((1, 64, 4096), -127.0)
    x[0, 1], x[0, 2], x[0, 3, 5], x[0, 4, 0] = 0, 1e-42, torch.nan, torch.inf
    y = int8_linear(x, weight, scale, bias)
    assert y[0, 0].unique() == 127 * 128 * 4096  # the largest sum, beside which 1 is nothing
    assert y[0, 1].unique() == 1
    assert torch.equal(y[0, 2:3], reference.int8_linear(x[0, 2:3], weight, scale, bias, products=DOT))
    assert y[0, 3:5].isnan().all()
    assert not y[0, 5:].isnan().any()
    assert torch.equal(int8_linear(x.mT.contiguous().mT, weight.mT.contiguous().mT, scale, bias)[0, 5:], y[0, 5:])


@pytest.mark.usefixtures("native_everywhere")
def test_what_does_not_fit_the_native_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    skip_without_bytes()
    (weight, scale, bias), x = layer(32, 16), torch.randn(1, 64, 32)
    assert native.fits(x, weight, scale, bias)
    assert not native.fits(x[:, :63], weight, scale, bias)
    assert not native.fits(x[..., :24], weight[:, :24], scale, bias)
    assert not native.fits(x, weight[:15], scale[:15], bias[:15])
    assert not native.fits(x, weight, scale[:15], bias)
    assert not native.fits(x, weight, scale.double(), bias)
    assert not native.fits(x, weight, scale, bias.bfloat16())
    assert not native.fits(x.double(), weight, scale, None)
    assert not native.fits(torch.empty(1, 64, 2**16 + 16), torch.empty(16, 2**16 + 16, dtype=torch.int8), scale, None)
    monkeypatch.setattr(opening, "native_library", lambda: None)
    assert not native.fits(x, weight, scale, bias)
    torch.testing.assert_close(int8_linear(x, weight, scale, bias), reference.int8_linear(x, weight, scale, bias))
