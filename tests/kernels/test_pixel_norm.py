"""The native RMS norm of pixels against the plain one in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sanakit.kernels.pixel_norm import native, pixel_rms_norm, reference


@pytest.mark.usefixtures("native_everywhere")
@pytest.mark.parametrize("activation", ["none", "silu", "relu"])
@pytest.mark.parametrize("shape", [(1, 16, 1, 1), (2, 48, 7, 5), (1, 32, 40, 33)])
def test_equals_the_formula(shape: tuple[int, ...], activation: Any, lent_threads: Any) -> None:
    g = torch.Generator().manual_seed(0)
    x, weight, bias = torch.randn(shape, generator=g), *torch.randn(2, shape[1], generator=g)
    x[0, :, 0, 0] = 0  # a pixel without length
    expected = reference.pixel_rms_norm(x.double(), weight.double(), bias.double(), 1e-5, activation)
    assert native.fits(x, weight, bias)
    ours = []
    for threads in (1, 2):
        lent_threads(threads)
        ours.append(pixel_rms_norm(x, weight, bias, 1e-5, activation))
    assert torch.equal(*ours)
    assert (ours[0] - expected).abs().max() <= 1e-6 * expected.abs().max()
    halves = [each.bfloat16() for each in (x, weight, bias)]
    expected = reference.pixel_rms_norm(*(each.double() for each in halves), 1e-5, activation)
    error = (pixel_rms_norm(*halves, 1e-5, activation) - expected).abs()
    assert (error <= expected.abs() / 2**8 + 1e-6 * expected.abs().max()).all()  # rounded once


@pytest.mark.usefixtures("native_everywhere")
def test_what_does_not_fit_goes_to_the_reference() -> None:
    x, weight, bias = torch.randn(1, 16, 3, 3), torch.ones(16), torch.zeros(16)
    assert not native.fits(x.half(), weight.half(), bias.half())
    assert not native.fits(x[:, :15], weight[:15], bias[:15])
    assert not native.fits(x, weight[:1], bias)
    assert not native.fits(x, weight.requires_grad_(True), bias)
    with torch.no_grad():
        assert not native.fits(x, weight, bias)
    assert pixel_rms_norm(x, weight, bias, 1e-5).requires_grad
