"""ReLU linear attention against its quadratic definition."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sanakit.common.errors import ShapeError
from sanakit.kernels.linear_attention import by_rows, linear_attention, reference

EPS = 1e-15


def quadratic(q: Tensor, k: Tensor, v: Tensor, eps: float = EPS) -> Tensor:
    weights = F.relu(q) @ F.relu(k).mT  # (B, heads, N, N)
    return weights @ v / (weights.sum(-1, keepdim=True) + eps)


def draw(tokens: int, dtype: torch.dtype = torch.float64, channels: int = 8) -> list[Tensor]:
    generator = torch.Generator().manual_seed(tokens)
    return [torch.randn(2, 3, tokens, channels, generator=generator, dtype=torch.float64).to(dtype) for _ in range(3)]


def test_golden_values() -> None:
    """Spec anchor, worked out by hand."""
    q = torch.tensor([[1.0, -1.0], [0.5, 2.0], [3.0, 0.0]], dtype=torch.float64)
    k = torch.tensor([[1.0, 1.0], [-2.0, 0.5], [0.0, 2.0]], dtype=torch.float64)
    v = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], dtype=torch.float64)
    expected = torch.tensor([[1.0, 2.0], [3.4, 4.4], [1.0, 2.0]], dtype=torch.float64)
    torch.testing.assert_close(linear_attention(q[None, None], k[None, None], v[None, None])[0, 0], expected)


@pytest.mark.parametrize("tokens", [1, 7, 63, 256])  # odd sizes find wrong tails
def test_matches_the_quadratic_definition(tokens: int) -> None:
    torch.testing.assert_close(linear_attention(*draw(tokens)), quadratic(*draw(tokens)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("tokens", [1, 13])
def test_gradients_match_the_quadratic_definition(tokens: int) -> None:
    found, expected = ([x.requires_grad_() for x in draw(tokens)] for _ in range(2))
    upstream = torch.randn(2, 3, tokens, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    linear_attention(*found).backward(upstream)
    quadratic(*expected).backward(upstream)
    for x, y in zip(found, expected, strict=True):
        torch.testing.assert_close(x.grad, y.grad, rtol=1e-10, atol=1e-10)


def test_gradcheck() -> None:
    q, k, v = (x[:1, :1].requires_grad_() for x in draw(3, channels=4))
    assert torch.autograd.gradcheck(lambda *x: linear_attention(*x, eps=1e-2), (q, k, v))


def test_a_query_without_a_positive_channel_gives_zero_and_finite_gradients() -> None:
    q, k, v = draw(5)
    q[:, :, 2] = -q[:, :, 2].abs()
    inputs = [x.requires_grad_() for x in (q, k, v)]
    out = linear_attention(*inputs)
    assert not out[:, :, 2].any()
    assert out[:, :, 1].all()
    out.sum().backward()
    assert all(x.grad.isfinite().all() for x in inputs if x.grad is not None)


def test_eps_counts_where_the_normaliser_is_small() -> None:
    q, k, v = draw(6)
    torch.testing.assert_close(linear_attention(q, k, v, eps=0.7), quadratic(q, k, v, eps=0.7))


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [
        (torch.float32, 1e-5),  # 256 positive terms: some hundred roundings of 6e-8
        (torch.bfloat16, 4e-3),  # half a step of the output's eight bits, 2**-9, on values below two; sums are float32
        (torch.float16, 5e-4),  # half a step of eleven bits, 2**-12, on values below two
    ],
)
def test_narrow_dtypes_round_only_the_output(dtype: torch.dtype, tolerance: float) -> None:
    q, k, v = draw(256, dtype)
    out = linear_attention(q, k, v)
    assert out.dtype == dtype
    exact = quadratic(q.double(), k.double(), v.double())
    assert (out.double() - exact).abs().max() < tolerance


def test_the_order_of_keys_does_not_matter() -> None:
    q, k, v = draw(9)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(linear_attention(q, k[:, :, order], v[:, :, order]), linear_attention(q, k, v))


def test_keys_without_values_are_refused() -> None:
    q, k, v = draw(4)
    with pytest.raises(ShapeError, match="k has 4 tokens and v has 3"):
        linear_attention(q, k, v[:, :, :3])


def test_autocast_does_not_narrow_the_sums() -> None:
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, 256, 32, generator=g).bfloat16() for _ in range(3))
    expected = reference.linear_attention(q, k, v)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(linear_attention(q, k, v), expected)


def test_shapes_can_be_followed_without_numbers() -> None:
    x = torch.empty(2, 3, 5, 4, device="meta", dtype=torch.bfloat16)
    out = linear_attention(x, x, x)
    assert (out.shape, out.dtype, out.is_meta) == (x.shape, x.dtype, True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1, 2, 5, 4), (3, 6, 64, 32), (2, 4, 63, 8), (2, 3, 0, 8)])
def test_without_gradients_rows_are_the_reference_to_the_bit(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    batch, heads, num_tokens, size = shape
    g = torch.Generator().manual_seed(0)
    qkv = torch.randn(batch, num_tokens, 3, heads, size, generator=g, dtype=dtype)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    q[0, 0, :1] = -1  # no positive channel
    assert not by_rows.fits(q, k, v)
    with torch.no_grad():
        assert by_rows.fits(q, k, v)
        found = by_rows.linear_attention(q, k, v, eps=EPS)
        assert torch.equal(found, reference.linear_attention(q, k, v))
        assert found.transpose(1, 2).is_contiguous()
        assert not by_rows.fits(q, k[..., 1:], v)
        assert not by_rows.fits(*qkv.bfloat16().permute(2, 0, 3, 1, 4))
