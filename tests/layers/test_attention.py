"""Self- and cross-attention modules, written out head by head."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from sanakit.layers.cross_attention import AttendedText, CrossAttention
from sanakit.layers.linear_attention import LinearAttention, MultiscaleLinearAttention


def randomized(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    for parameter in module.double().parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return module


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def rms(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight


@pytest.mark.parametrize("qk_norm", [False, True])
def test_self_attention(qk_norm: bool) -> None:
    layer = randomized(LinearAttention(8, head_dim=4, qk_norm=qk_norm, eps=1e-15, qk_norm_eps=1e-5))
    x = draw(2, 5, 8)
    q, k, v = (x @ w.T for w in layer.qkv.weight.split(8))  # (2, 5, 8) each: q, then k, then v
    if qk_norm:  # over both heads together
        q, k = rms(q, layer.norm_q.weight, 1e-5), rms(k, layer.norm_k.weight, 1e-5)
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        weights = q[..., head].relu() @ k[..., head].relu().mT
        heads.append(weights @ v[..., head] / (weights.sum(-1, keepdim=True) + 1e-15))
    torch.testing.assert_close(layer(x), layer.out(torch.cat(heads, dim=-1)))


@pytest.mark.parametrize("qk_norm", [False, True])
def test_identity_rows_attend_to_themselves_and_leave_the_others_alone(qk_norm: bool) -> None:
    layer = randomized(LinearAttention(8, head_dim=4, qk_norm=qk_norm, eps=1e-15, qk_norm_eps=1e-5))
    x = draw(3, 5, 8)
    found = layer(x, identity_rows=torch.tensor([False, True, False]))
    values = x @ layer.qkv.weight[16:].T  # no norm touches the values
    torch.testing.assert_close(found[1], layer.out(values)[1])
    assert torch.equal(found[[0, 2]], layer(x)[[0, 2]])


@pytest.mark.parametrize("qk_norm", [False, True])
def test_cross_attention(qk_norm: bool) -> None:
    layer = randomized(CrossAttention(8, head_dim=4, qk_norm=qk_norm, qk_norm_eps=1e-5))
    x, text = draw(2, 5, 8), draw(2, 3, 8) * 0.3
    mask = torch.tensor([[True, True, False], [True, False, False]])
    q, k, v = layer.q(x), *layer.kv(text).chunk(2, dim=-1)
    if qk_norm:
        q, k = rms(q, layer.norm_q.weight, 1e-5), rms(k, layer.norm_k.weight, 1e-5)
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        scores = (q[..., head] @ k[..., head].mT / math.sqrt(4)).masked_fill(~mask[:, None], -math.inf)
        heads.append(scores.softmax(-1) @ v[..., head])
    found = layer(x, AttendedText(*layer.prepare(text), mask[:, None, None]))
    torch.testing.assert_close(found, layer.out(torch.cat(heads, dim=-1)))


def test_a_text_without_a_visible_token_gives_no_nan() -> None:
    layer = randomized(CrossAttention(8, head_dim=4, qk_norm=False, qk_norm_eps=1e-5)).float()
    nothing = torch.zeros(2, 1, 1, 3, dtype=torch.bool)
    found = layer(draw(2, 5, 8).float(), AttendedText(*layer.prepare(draw(2, 3, 8).float()), nothing))
    torch.testing.assert_close(found, layer.out.bias.expand(2, 5, 8))  # nothing seen, nothing said


def test_multiscale_attention_reads_its_heads_from_interleaved_groups() -> None:
    """Head ``i`` of scale ``s`` is channels ``3 D i`` to ``3 D (i + 1)`` of that scale's own ``3C`` channels."""
    layer = randomized(MultiscaleLinearAttention(8, head_dim=4, scales=(3,), norm=nn.Identity()))
    x = draw(1, 8, 2, 5)
    qkv = torch.einsum("oc,bchw->bohw", layer.qkv.weight, x)
    seen = nn.functional.conv2d(qkv, layer.multiscale[0].depthwise.weight, padding=1, groups=24)
    seen = nn.functional.conv2d(seen, layer.multiscale[0].pointwise.weight, groups=6)
    heads = []
    for group in torch.cat([qkv, seen], dim=1).flatten(2)[0].split(12):  # (12, 10) each
        q, k, v = (part.T for part in group.split(4))
        weights = q.relu() @ k.relu().T
        heads.append(weights @ v / (weights.sum(-1, keepdim=True) + 1e-15))
    expected = (torch.cat(heads, dim=-1) @ layer.out.weight.T).T.view(1, 8, 2, 5)
    torch.testing.assert_close(layer(x), expected)
