"""Native kernels with backward passes: values and gradients against the references and autograd in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sanakit.kernels import cross_attention, linear_attention, modulated_norm
from sanakit.training.step.parallel import plain_attention

pytestmark = pytest.mark.usefixtures("native_everywhere")

Drawn = tuple[Callable[..., Tensor], Any, list[Tensor]]


def linear(tokens: int, size: int, g: torch.Generator) -> Drawn:
    """Queries, keys and values as the views that one product gives."""
    qkv = torch.randn(3, tokens, 3, 2, size, generator=g).unbind(2)
    qkv[0][0, 0] = -qkv[0][0, 0].abs()  # a query without a positive channel
    return lambda *x: linear_attention.linear_attention(*(each.transpose(1, 2) for each in x)), linear_attention, [*qkv]


def interleaved(tokens: int, size: int, g: torch.Generator) -> Drawn:
    """As in an autoencoder: each head has its own three beside one another."""
    function, module, _ = linear(tokens, size, g)
    return function, module, [*torch.randn(3, tokens, 2, 3 * size, generator=g).chunk(3, dim=-1)]


def text(tokens: int, size: int, g: torch.Generator) -> Drawn:
    queries, keys = torch.randn(3, tokens, 2 * size, generator=g), torch.randn(3, 2, 21, size, generator=g)
    values = torch.randn(3, 21, 2, size, generator=g).transpose(1, 2)
    mask = torch.ones(3, 1, 1, 21, dtype=torch.bool)
    mask[0, :, :, 5:] = False
    mask[1, :, :, [0, 3, 20]] = False
    return lambda *x: cross_attention.attend(*x, mask), cross_attention, [queries, keys * 3, values]


def rms(tokens: int, size: int, g: torch.Generator) -> Drawn:
    x = torch.randn(3, tokens, 3 * size, generator=g)[..., size : 2 * size]
    return lambda *x: modulated_norm.rms_norm(*x, eps=1e-5), modulated_norm, [x, torch.randn(size, generator=g)]


def modulated(tokens: int, size: int, g: torch.Generator) -> Drawn:
    shift, scale = torch.randn(3, 2, size, generator=g).chunk(2, dim=1)
    return modulated_norm.modulated_norm, modulated_norm, [torch.randn(3, tokens, size, generator=g) + 2, shift, scale]


@pytest.mark.parametrize("draw", [linear, interleaved, text, rms, modulated])
@pytest.mark.parametrize(("tokens", "size"), [(1, 16), (7, 48), (300, 32)])
def test_equals_the_reference(draw: Callable[..., Drawn], tokens: int, size: int, lent_threads: Any) -> None:
    function, _, inputs = draw(tokens, size, torch.Generator().manual_seed(tokens))
    exact = [x.double().requires_grad_() for x in inputs]
    expected = function(*exact)
    upwards = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    expected.backward(upwards.double())
    found = []
    for threads in (1, 3):
        lent_threads(threads)
        leaves = [x.requires_grad_() for x in inputs]
        y = function(*leaves)
        assert "Apply" in str(seen_functions(y))
        found.append([y, *torch.autograd.grad(y, leaves, upwards)])
        with torch.no_grad():
            assert torch.equal(function(*leaves), y)
    for one, other, x in zip(*found, [expected, *(x.grad for x in exact)], strict=True):
        assert torch.equal(one, other)
        assert (one - x).abs().max() <= 5e-6 * max(1, x.abs().max())


@pytest.mark.parametrize("draw", [rms, modulated])
@pytest.mark.parametrize(("tokens", "size"), [(7, 48), (300, 32)])
def test_norms_of_bfloat16_are_rounded_once(draw: Callable[..., Drawn], tokens: int, size: int) -> None:
    function, module, inputs = draw(tokens, size, torch.Generator().manual_seed(tokens))
    halves = [x.bfloat16() for x in inputs]
    assert module.native.fits(*halves)
    assert not module.native.fits(halves[0].requires_grad_(), *halves[1:])
    with torch.no_grad():
        found, expected = function(*halves), function(*(x.double() for x in halves))
    assert found.dtype == torch.bfloat16
    assert ((found - expected).abs() <= expected.abs() / 2**8 + 1e-5).all()


@pytest.mark.parametrize("draw", [linear, interleaved])
@pytest.mark.parametrize(("tokens", "size"), [(1, 16), (7, 48), (300, 32)])
def test_bfloat16_is_rounded_once(draw: Callable[..., Drawn], tokens: int, size: int, lent_threads: Any) -> None:
    function, _, inputs = draw(tokens, size, torch.Generator().manual_seed(tokens))
    halves = torch.cat(inputs, dim=-1).bfloat16().chunk(3, dim=-1)
    exact, found = function(*(x.double() for x in halves)), []
    for threads in (1, 3):
        lent_threads(threads)
        found.append(function(*halves))
    assert torch.equal(*found)
    assert ((found[0] - exact).abs() <= exact.abs() / 2**8 + 1e-5 * exact.abs().max()).all()


@pytest.mark.parametrize("draw", [linear, text, rms, modulated])
def test_can_be_differentiated_twice(draw: Callable[..., Drawn]) -> None:
    function, _, inputs = draw(3, 16, torch.Generator().manual_seed(0))

    def curvature(dtype: torch.dtype) -> Tensor:
        leaves = [x.to(dtype).requires_grad_() for x in inputs]
        first = torch.autograd.grad(function(*leaves).square().sum(), leaves, create_graph=True)
        return torch.autograd.grad(sum(each.square().sum() for each in first), leaves[0])[0]

    with plain_attention():  # torch's fused one has no second derivative
        expected, found = curvature(torch.float64), curvature(torch.float32)
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize("draw", [linear, text, rms, modulated])
def test_rows_are_the_same_alone_and_in_company(draw: Callable[..., Drawn]) -> None:
    if draw is text:
        mask = torch.ones(3, 1, 1, 21, dtype=torch.bool)
        _, _, inputs = draw(5, 16, torch.Generator().manual_seed(0))
        alone = cross_attention.attend(*(x[1:2] for x in inputs), mask[:1])
        assert torch.equal(alone, cross_attention.attend(*inputs, mask)[1:2])
        return
    function, _, inputs = draw(5, 16, torch.Generator().manual_seed(0))
    alone = function(*(x[1:2] if x.ndim > 1 else x for x in inputs))
    assert torch.equal(alone, function(*inputs)[1:2])


def test_a_picture_without_text_gets_nothing() -> None:
    leaves = [torch.randn(2, 4, 32), torch.randn(2, 2, 3, 16), torch.randn(2, 2, 3, 16)]
    mask = torch.tensor([True, False])[:, None, None, None].expand(2, 1, 1, 3)
    y = cross_attention.attend(*(x.requires_grad_() for x in leaves), mask)
    assert not y[1].any()
    assert y[0].all()
    assert all(x.isfinite().all() for x in torch.autograd.grad(y.sum(), leaves))


def seen_functions(y: Tensor) -> list[str]:
    """Names of the nodes next to what a function gave."""
    names, nodes = [], [y.grad_fn]
    for _ in range(3):
        names += [type(node).__name__ for node in nodes]
        nodes = [parent for node in nodes for parent, _ in node.next_functions if parent is not None]
    return names
