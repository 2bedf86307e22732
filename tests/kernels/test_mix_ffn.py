"""The gated depth-wise convolution against a plain convolution of pictures."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sanakit.common.errors import ShapeError
from sanakit.kernels.mix_ffn import gated_depthwise


def by_pixels(tokens: Tensor, weight: Tensor, bias: Tensor, *, height: int, width: int) -> Tensor:
    """The definition, with nine shifted sums instead of a convolution."""
    picture = F.pad(F.silu(tokens).mT.unflatten(-1, (height, width)), (1, 1, 1, 1))  # (B, 2M, H + 2, W + 2)
    summed = bias[:, None, None] + sum(
        weight[:, 0, dy, dx, None, None] * picture[:, :, dy : dy + height, dx : dx + width]
        for dy in range(3)
        for dx in range(3)
    )
    value, gate = summed.chunk(2, dim=1)
    return (value * gate * torch.sigmoid(gate)).flatten(2).mT


def draw(height: int, width: int, inner: int = 5, batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(height * width)
    options = {"generator": generator, "dtype": torch.float64}
    return (
        torch.randn(batch, height * width, 2 * inner, **options),
        torch.randn(2 * inner, 1, 3, 3, **options),
        torch.randn(2 * inner, **options),
    )


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 7), (8, 2), (5, 5)])
def test_matches_the_definition(height: int, width: int) -> None:
    inputs = draw(height, width)
    found = gated_depthwise(*inputs, height=height, width=width)
    torch.testing.assert_close(found, by_pixels(*inputs, height=height, width=width), rtol=1e-12, atol=1e-12)


def test_gradients_match_the_definition() -> None:
    found, expected = ([x.requires_grad_() for x in draw(4, 3)] for _ in range(2))
    for function, inputs in ((gated_depthwise, found), (by_pixels, expected)):
        function(*inputs, height=4, width=3).square().sum().backward()
    for x, y in zip(found, expected, strict=True):
        torch.testing.assert_close(x.grad, y.grad, rtol=1e-10, atol=1e-10)


def test_gradcheck() -> None:
    inputs = [x.requires_grad_() for x in draw(2, 3, inner=1, batch=1)]
    assert torch.autograd.gradcheck(lambda *x: gated_depthwise(*x, height=2, width=3), inputs)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float32, 1e-6), (torch.bfloat16, 3e-2)],  # relative; bfloat16: seven roundings of 2**-9, rarely in step
)
def test_narrow_dtypes(dtype: torch.dtype, tolerance: float) -> None:
    inputs = [x.to(dtype) for x in draw(6, 5, inner=16)]
    exact = by_pixels(*(x.double() for x in inputs), height=6, width=5)
    found = gated_depthwise(*inputs, height=6, width=5)
    assert found.dtype == dtype
    assert (found.double() - exact).abs().max() < tolerance * exact.abs().max()


def test_a_grid_that_does_not_hold_the_tokens_is_refused() -> None:
    with pytest.raises(ShapeError, match="12 tokens do not fill a grid of 3x5"):
        gated_depthwise(*draw(3, 4), height=3, width=5)
