"""Newton-Schulz iterations in the native library against the plain ones in float64."""

from __future__ import annotations

import pytest
import torch

from sanakit.kernels.newton_schulz import native, newton_schulz, reference


@pytest.mark.usefixtures("native_everywhere")
@pytest.mark.parametrize("shape", [(16, 16), (48, 32), (32, 80), (16, 288)])
@pytest.mark.parametrize("rank", [2, 16])
def test_equals_the_formula(shape: tuple[int, int], rank: int) -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(shape[0], rank, generator=g) @ torch.randn(rank, shape[1], generator=g) * 1e3
    expected = reference.newton_schulz(x.double())
    assert native.fits(x)
    # what is lost of a direction that the matrix lacks grows with the steepness at 0, 3.4 an iteration
    assert (newton_schulz(x) - expected).norm() <= 1e-3 * expected.norm()
    assert torch.equal(newton_schulz(x.mT), newton_schulz(x.mT.contiguous()))


@pytest.mark.usefixtures("native_everywhere")
def test_zeros_stay_and_what_is_no_number_is_not_hidden() -> None:
    assert torch.equal(newton_schulz(torch.zeros(16, 32)), torch.zeros(16, 32))
    broken = torch.ones(32, 16)
    broken[3, 5] = torch.nan
    assert not newton_schulz(broken).isfinite().any()


@pytest.mark.usefixtures("native_everywhere")
def test_what_does_not_fit_goes_to_the_reference() -> None:
    assert not native.fits(torch.ones(16, 24))
    assert not native.fits(torch.ones(16, 16).double())
    assert not native.fits(torch.ones(16, 16).bfloat16())
    assert not native.fits(torch.ones(0, 16))
    assert not native.fits(torch.empty(528, 528))
    assert newton_schulz(torch.eye(3, 4)).shape == (3, 4)
