"""Keys and values with the projections multiplied in give what plain cross-attention gives."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from sanakit.kernels.cross_attention.folded import pays
from sanakit.layers.cross_attention import AttendedText, CrossAttention
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.condition import Condition
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig

CONFIG = LinearDiTConfig(
    hidden_size=32, num_layers=2, head_dim=8, cross_head_dim=16, in_channels=4, out_channels=4, caption_channels=12
)


def layer(dtype: torch.dtype, *, qk_norm: bool = False) -> CrossAttention:
    torch.manual_seed(0)
    return CrossAttention(32, head_dim=8, qk_norm=qk_norm, qk_norm_eps=1e-5).to(dtype).requires_grad_(False)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-5), (torch.bfloat16, 0.03)]
)
@pytest.mark.parametrize("length", [1, 2, 7])
def test_folded_is_plain(dtype: torch.dtype, tolerance: float, length: int) -> None:
    attention, g = layer(dtype), torch.Generator().manual_seed(1)
    x, text = (torch.randn(1, n, 32, generator=g, dtype=torch.float64).to(dtype) for n in (5, length + 2))
    seen = torch.tensor([[False, *[True] * length, False]])  # padding may stand on either side
    keys, values = attention.prepare(text)
    plain = AttendedText(keys, values, seen[:, None, None])
    folded = attention.fold(keys[0], values[0], seen[0])
    assert folded is not None
    assert (folded.keys is None) == (length == 1)
    found, expected = attention(x, plain._replace(folded=(folded,))), attention(x, plain)
    assert found.dtype == dtype
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()


def test_what_cannot_be_folded_is_left() -> None:
    keys, values = torch.randn(2, 1, 4, 3, 8)
    all_seen, none_seen = torch.ones(3, dtype=torch.bool), torch.zeros(3, dtype=torch.bool)
    assert layer(torch.float32).fold(keys[0], values[0], none_seen) is None
    assert layer(torch.float32, qk_norm=True).fold(keys[0], values[0], all_seen) is None
    quantized = layer(torch.float32)
    quantized.out = nn.Sequential(quantized.out)  # type: ignore[assignment]
    assert quantized.fold(keys[0], values[0], all_seen) is None
    watched = layer(torch.float32)
    watched.q.register_forward_pre_hook(lambda *_: None)  # a calibration wants to see what comes in
    assert watched.fold(keys[0], values[0], all_seen) is None
    long = torch.randn(4, 11, 8)
    assert layer(torch.float32).fold(long, long, torch.ones(11, dtype=torch.bool)) is None  # 3 * 11 > 32


@pytest.mark.parametrize(("length", "expected"), [(76, True), (77, False)])
def test_when_it_pays(length: int, expected: bool) -> None:
    assert pays(1152, 16, length) is expected


@pytest.mark.parametrize("qk_norm", [False, True])
def test_a_network_of_rows_folded_and_not(qk_norm: bool) -> None:
    torch.manual_seed(0)
    network = LinearDiT(replace(CONFIG, qk_norm=qk_norm)).requires_grad_(False)
    texts = [TextCondition(torch.randn(1, n, 12), torch.ones(1, n, dtype=torch.bool)) for n in (1, 6, 40)]
    with torch.no_grad():
        together = Condition.cat([network.prepare(text) for text in texts])
    assert [row is None for row in together.folded[1]] == [False, qk_norm, True]
    x, time = torch.randn(3, 4, 4, 4), torch.tensor([900.0, 500.0, 10.0])
    plain = network(x, time, replace(together, folded=()))
    torch.testing.assert_close(network(x, time, together), plain, rtol=1e-5, atol=1e-5)


def test_weights_that_learn_are_not_folded() -> None:
    text = TextCondition(torch.randn(1, 3, 12), torch.ones(1, 3, dtype=torch.bool))
    with torch.no_grad():
        assert LinearDiT(CONFIG).prepare(text).folded == ()
    assert LinearDiT(CONFIG).requires_grad_(False).prepare(text).folded == ()  # as beside networks that learn
