"""The gated depth-wise convolution against a plain convolution of pictures."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sanakit.common.errors import ShapeError
from sanakit.kernels.mix_ffn import gated_depthwise, native
from sanakit.kernels.native import library as opening
from sanakit.kernels.native.library import NativeLibrary


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


@pytest.fixture
def _use(variant: NativeLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "native_library", lambda: variant)
    monkeypatch.setattr(native, "native_library", lambda: variant)


@pytest.mark.usefixtures("_use")
@pytest.mark.parametrize(
    ("height", "width", "inner"), [(1, 1, 16), (1, 9, 48), (7, 1, 64), (2, 3, 80), (5, 4, 144), (33, 17, 32)]
)
def test_the_native_twin_matches_the_definition(height: int, width: int, inner: int, lent_threads: Any) -> None:
    inputs = draw(height, width, inner=inner, batch=3)
    inputs[0][0, 0, :2] = torch.tensor([1e4, -1e4])  # where e^x has no float
    narrow, size = [x.float() for x in inputs], {"height": height, "width": width}
    assert native.fits(*narrow, **size)
    found = []
    for threads in (1, 3):
        lent_threads(threads)
        found.append(gated_depthwise(*narrow, **size))
    exact = by_pixels(*(x.double() for x in narrow), **size)
    assert torch.equal(*found)
    assert torch.equal(gated_depthwise(narrow[0][1:2], *narrow[1:], **size), found[0][1:2])  # alone and in company
    assert (found[0] - exact).abs().max() <= 1e-6 * exact.abs().max()
    assert torch.equal(gated_depthwise(narrow[0].mT.contiguous().mT, *narrow[1:], **size), found[0])
    halves = [x.bfloat16() for x in inputs]
    assert native.fits(*halves, **size)
    exact = by_pixels(*(x.double() for x in halves), **size)
    rounded_once = exact.abs() / 2**8 + 1e-6 * exact.abs().max()
    assert ((gated_depthwise(*halves, **size) - exact).abs() <= rounded_once).all()


@pytest.mark.usefixtures("_use")
def test_what_does_not_fit_goes_to_the_reference() -> None:
    tokens, weight, bias = (x.float() for x in draw(3, 4, inner=16))
    assert native.fits(tokens, weight, bias, height=3, width=4)
    assert not native.fits(tokens, weight, bias, height=3, width=5)
    assert not native.fits(tokens[:0], weight, bias, height=3, width=4)
    assert not native.fits(tokens.double(), weight.double(), bias.double(), height=3, width=4)
    assert not native.fits(*(x.float() for x in draw(3, 4, inner=8)), height=3, width=4)
    assert not native.fits(tokens.bfloat16(), weight.bfloat16().requires_grad_(), bias.bfloat16(), height=3, width=4)
    assert not native.fits(tokens, weight[:16], bias, height=3, width=4)
    with torch.autograd.forward_ad.dual_level():
        assert not native.fits(tokens, weight, bias, height=3, width=4)


@pytest.mark.usefixtures("_use")
@pytest.mark.parametrize(("height", "width", "inner"), [(1, 1, 16), (1, 9, 48), (7, 3, 80)])
def test_native_gradients_match_the_definition(height: int, width: int, inner: int, lent_threads: Any) -> None:
    exact = [x.requires_grad_() for x in draw(height, width, inner=inner, batch=3)]
    size = {"height": height, "width": width}
    upwards = torch.randn(3, height * width, inner, generator=torch.Generator().manual_seed(1))
    by_pixels(*exact, **size).backward(upwards.double())
    found = []
    for threads in (1, 3):
        lent_threads(threads)
        narrow = [x.detach().float().requires_grad_() for x in exact]
        assert native.fits(*narrow, **size)
        gated_depthwise(*narrow, **size).backward(upwards)
        found.append([x.grad for x in narrow])
    for one, other, x in zip(*found, exact, strict=True):
        assert torch.equal(one, other)
        assert (one - x.grad).abs().max() <= 2e-6 * x.grad.abs().max()


@pytest.mark.usefixtures("_use")
def test_the_native_twin_can_be_differentiated_twice() -> None:
    def curvature(*inputs: Tensor) -> Tensor:
        first = torch.autograd.grad(gated_depthwise(*inputs, height=2, width=3).sum(), inputs, create_graph=True)
        return torch.autograd.grad(sum(each.square().sum() for each in first), inputs[0])[0]

    exact = draw(2, 3, inner=16)
    found = curvature(*(x.float().requires_grad_() for x in exact))
    expected = curvature(*(x.requires_grad_() for x in exact))
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
