"""Products of 8-bit floats: their rounding, emulated on any device, and on a GPU the product itself."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sanakit.kernels import on_gpu
from sanakit.kernels.fp8_linear import fp8_linear, reference, scaled_mm

HAS_FP8 = torch.cuda.is_available() and torch.cuda.get_device_capability() >= scaled_mm.MIN_CAPABILITY


def draw(rows: int, channels: int, columns: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    g = torch.Generator().manual_seed(rows)
    x, weight, bias = (
        torch.randn(*shape, generator=g) for shape in ((rows, channels), (columns, channels), (columns,))
    )
    rounded, scale = reference.round_to_fp8(weight)
    return x.to(dtype), rounded, scale[:, 0], bias.to(dtype)


def nearest(value: float) -> float:
    """Of the numbers of e4m3: a sign, ``2**e`` for e from -6 to 8 in eighths, and eighths of ``2**-6`` below."""
    exponent = max(math.floor(math.log2(abs(value))), -6) if value else -6
    step = 2.0 ** (exponent - 3)
    return round(value / step) * step  # Python rounds ties to even, as the format does


def test_values_are_rounded_to_the_nearest_of_the_format() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.cat(
        [torch.randn(500, generator=g) * 10.0 ** torch.randint(-4, 2, (500,), generator=g), torch.tensor([448.0])]
    )
    rounded, scale = reference.round_to_fp8(x[None])
    assert rounded.dtype == torch.float8_e4m3fn
    assert float(scale) == 1.0
    assert rounded[0].float().tolist() == [nearest(float(value)) for value in x]


@pytest.mark.parametrize("shape", [(1, 3, 5), (7, 40, 33)])
def test_the_product_is_that_of_rounded_rows(shape: tuple[int, int, int]) -> None:
    x, weight, weight_scale, bias = draw(*shape)
    rounded, scale = reference.round_to_fp8(x)
    expected = (rounded.double() * scale) @ (weight.double() * weight_scale[:, None]).mT + bias
    torch.testing.assert_close(
        fp8_linear(x[None], weight, weight_scale, bias)[0].double(), expected, rtol=1e-5, atol=1e-5
    )
    assert (fp8_linear(x, weight, weight_scale).double() + bias - expected).abs().max() < 1e-4


def test_rounding_costs_a_sixteenth_of_a_value_at_most() -> None:
    """Three bits of mantissa, to the nearest: 2**-4 of a value, also of one far below its row's largest."""
    x = torch.randn(64, 256, generator=torch.Generator().manual_seed(0)).clamp_min(0.05)
    rounded, scale = reference.round_to_fp8(x)
    assert ((rounded.float() * scale - x).abs() / x).max() <= 1.001 * 2**-4


def test_rows_of_zeros_and_of_no_numbers() -> None:
    _, weight, weight_scale, _ = draw(3, 16, 4)
    x = torch.zeros(3, 16)
    x[1, 2], x[2, 3] = math.inf, math.nan
    found = fp8_linear(x, weight, weight_scale)
    assert not found[0].any()
    assert found[1:].isnan().all()


def test_what_the_hardware_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight, _, bias = draw(3, 32, 16, torch.bfloat16)
    assert not scaled_mm.fits(x, weight, bias)  # on the CPU
    monkeypatch.setattr(on_gpu, "KIND", "cpu")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    with torch.no_grad():
        assert scaled_mm.fits(x, weight, bias)
        assert scaled_mm.fits(x, weight, None)
        assert not scaled_mm.fits(x.float(), weight, bias.float())
        assert not scaled_mm.fits(x, weight[:15], bias[:15])
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 6))
        assert not scaled_mm.fits(x, weight, bias)
    assert not scaled_mm.fits(x.requires_grad_(), weight, bias)


@pytest.mark.gpu
@pytest.mark.skipif(not HAS_FP8, reason="needs a CUDA device of compute capability 8.9")
@pytest.mark.parametrize("shape", [(1, 64, 16), (300, 1152, 3456)])
def test_the_product_of_the_hardware(shape: tuple[int, int, int]) -> None:
    x, weight, scale, bias = (each.cuda() for each in draw(*shape, torch.bfloat16))
    assert scaled_mm.fits(x, weight, bias)
    expected = reference.fp8_linear(x.float(), weight, scale, bias.float())
    found = scaled_mm.fp8_linear(x, weight, scale, bias)
    assert (found.float() - expected).abs().max() < 1e-2 * expected.abs().max()
