"""The native linear layer against float64: every instruction set, odd sizes, company, and what is left to torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sanakit.kernels.linear import linear, native
from sanakit.kernels.native import library as opening


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.usefixtures("native_everywhere")
@pytest.mark.parametrize(
    ("tokens", "inputs", "outputs"),
    [(64, 1, 16), (64, 400, 48), (65, 31, 48), (67, 256, 32), (100, 257, 80), (128, 700, 112)],
)
@pytest.mark.parametrize("bias", [True, False])
def test_is_the_product_in_any_company(tokens: int, inputs: int, outputs: int, bias: bool, lent_threads: Any) -> None:
    x, weight = normal(3, tokens, inputs), normal(outputs, inputs, seed=1)
    offsets = normal(outputs, seed=2) if bias else None
    assert native.fits(x, weight, offsets)
    found = []
    for threads in (1, 3):
        lent_threads(threads)
        found.append(linear(x, weight, offsets))
    exact = F.linear(x.double(), weight.double(), None if offsets is None else offsets.double())
    assert torch.equal(*found)
    assert torch.equal(linear(x[1:2], weight, offsets), found[0][1:2])
    assert (found[0] - exact).abs().max() <= 1e-6 * exact.abs().max()


@pytest.mark.usefixtures("native_everywhere")
@pytest.mark.parametrize(("tokens", "inputs", "outputs"), [(64, 2, 16), (67, 256, 32), (65, 1030, 80), (800, 64, 112)])
def test_bfloat16_is_rounded_once(tokens: int, inputs: int, outputs: int, lent_threads: Any) -> None:
    """Where the processor has products of it."""
    parts = normal(2, tokens, inputs), normal(outputs, inputs, seed=1), normal(outputs, seed=2)
    x, weight, bias = (part.bfloat16() for part in parts)
    library = native.native_library()
    assert library is not None
    assert native.fits(x, weight, bias) == library.multiplies_halves
    assert not native.fits(x[..., 1:], weight[:, 1:], bias)  # pairs of channels
    if library.multiplies_halves:
        found = []
        for threads in (1, 3):
            lent_threads(threads)
            found.append(linear(x, weight, bias))
        exact = F.linear(x.double(), weight.double(), bias.double())
        assert torch.equal(*found)
        assert torch.equal(linear(x[1:], weight, bias), found[0][1:])
        assert ((found[0] - exact).abs() <= exact.abs() / 2**8 + 1e-5 * exact.abs().max()).all()


@pytest.mark.usefixtures("native_everywhere")
def test_more_rows_than_are_laid_out_at_a_time() -> None:
    x, weight = normal(1, 800, 4096), normal(16, 4096, seed=1)
    exact = x.double() @ weight.double().mT
    assert (linear(x, weight) - exact).abs().max() <= 1e-6 * exact.abs().max()


@pytest.mark.usefixtures("native_everywhere")
def test_any_layout_and_numbers_that_are_none() -> None:
    x, weight = normal(2, 8, 9, 32), normal(16, 32, seed=1)
    expected = linear(x, weight)
    assert expected.shape == (2, 8, 9, 16)
    assert torch.equal(linear(x.mT.contiguous().mT, weight.mT.contiguous().mT), expected)
    x[0, 0, 0, 0] = torch.nan
    assert linear(x, weight).isnan().sum() == 16  # of that token alone


@pytest.mark.usefixtures("native_everywhere")
def test_what_does_not_fit_goes_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight, bias = normal(1, 64, 32), normal(16, 32, seed=1), normal(16, seed=2)
    assert native.fits(x, weight, bias)
    assert not native.fits(x[:, :63], weight, bias)
    assert not native.fits(x[:0], weight, bias)
    assert not native.fits(x[0], weight, bias)  # rows of a batch: each a picture of one token
    assert not native.fits(x, weight[:15], bias[:15])
    assert not native.fits(x, weight, bias[:15])
    assert not native.fits(x[..., :31], weight, bias)
    assert not native.fits(x.double(), weight.double(), bias.double())
    with torch.no_grad():
        assert not native.fits(x, weight.clone().requires_grad_(), bias)
    monkeypatch.setattr(opening, "native_library", lambda: None)
    assert not native.fits(x, weight, bias)
    assert torch.equal(linear(x, weight, bias), F.linear(x, weight, bias))


def test_nothing_is_asked_of_the_library_where_torch_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's compiler cannot follow that, and would cut its graph at every layer."""
    for module in (native, opening):
        monkeypatch.setattr(module, "native_library", lambda: pytest.fail("it was asked"))
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert not native.fits(normal(1, 64, 32), normal(16, 32, seed=1), None)
