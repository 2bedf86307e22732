"""int8 products against their definition in float64, and the two ways in which whole numbers are multiplied."""

from __future__ import annotations

import pytest
import torch

from sanakit.kernels.int8_linear import int8_linear, reference
from sanakit.kernels.int8_linear.products import whole_number_products

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
