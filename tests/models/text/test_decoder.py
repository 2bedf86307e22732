"""Our decoder against transformers' Llama, Gemma 2 and Gemma 3: hidden states of every layer, padded and continued."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    Gemma2Config,
    Gemma2Model,
    Gemma3TextConfig,
    Gemma3TextModel,
    LlamaConfig,
    LlamaModel,
    PreTrainedModel,
)

from sanakit.checkpoints.text.decoder_json import decoder_config
from sanakit.common.errors import ConfigError
from sanakit.models.text.decoder import Decoder
from sanakit.models.text.decoder_config import DecoderConfig

KINDS = [
    "llama",
    "llama-biased",
    "llama-stretched",
    "llama-3.1",
    "gemma2",
    "gemma2-stretched",
    "gemma3",
    "gemma3-stretched",
]
SIZES: dict[str, Any] = {
    "vocab_size": 90, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 6, "num_attention_heads": 4,
    "num_key_value_heads": 2,
}  # fmt: skip
GEMMA = {**SIZES, "head_dim": 8, "sliding_window": 5, "query_pre_attn_scalar": 12}
STRETCHED = {"rope_type": "linear", "factor": 8.0}
BANDS = {
    "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 200,
}  # fmt: skip


def theirs_of(kind: str) -> PreTrainedModel:
    match kind:
        case "llama":
            return LlamaModel(LlamaConfig(**SIZES, rope_theta=1e5, rms_norm_eps=1e-5))
        case "llama-biased":
            return LlamaModel(LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True, head_dim=10))
        case "llama-stretched":
            return LlamaModel(LlamaConfig(**SIZES, rope_scaling=dict(STRETCHED)))
        case "llama-3.1":
            return LlamaModel(LlamaConfig(**SIZES, head_dim=16, rope_theta=5e5, rope_scaling=dict(BANDS)))
        case "gemma2":
            return Gemma2Model(Gemma2Config(**GEMMA, attn_logit_softcapping=3.0))
        case "gemma2-stretched":
            return Gemma2Model(Gemma2Config(**GEMMA, attn_logit_softcapping=None, rope_scaling=dict(STRETCHED)))
        case "gemma3":
            return Gemma3TextModel(Gemma3TextConfig(**GEMMA))
    return Gemma3TextModel(Gemma3TextConfig(**GEMMA, rope_scaling=dict(STRETCHED)))


@cache
def pair(kind: str) -> tuple[Decoder, PreTrainedModel]:
    """Ours with the weights of theirs, large enough that every norm, cap and position counts."""
    theirs = theirs_of(kind).eval().requires_grad_(False)
    g = torch.Generator().manual_seed(0)
    for parameter in theirs.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=g) * 0.5)
    config = decoder_config(theirs.config.to_dict())
    assert config is not None
    ours = Decoder(config).eval().requires_grad_(False)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def tokens(rows: int, length: int) -> Tensor:
    return torch.randint(0, 90, (rows, length), generator=torch.Generator().manual_seed(1))


def assert_near(found: Tensor, expected: Tensor) -> None:
    """1e-5 of each position's own length."""
    error = (found - expected).norm(dim=-1) / expected.norm(dim=-1)
    assert error.max() < 1e-5, error.max()


@pytest.mark.parametrize("padding", ["none", "right", "left"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_is_that_of_transformers(kind: str, padding: str) -> None:
    ours, theirs = pair(kind)
    ids, mask = tokens(3, 14), torch.ones(3, 14, dtype=torch.long)
    for row, count in ((1, 3), (2, 9)):
        if padding != "none":
            mask[row, slice(-count, None) if padding == "right" else slice(count)] = 0
    states: list[Tensor] = []
    hooks = [layer.register_forward_hook(lambda m, given, out: states.append(out[0])) for layer in ours.layers]
    last, kept = ours(ids, mask=None if padding == "none" else mask)
    for hook in hooks:
        hook.remove()
    assert kept == ()
    expected = theirs(input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False).hidden_states
    for found, state in zip([*states[:-1], last], expected[1:], strict=True):
        assert_near(found[mask.bool()], state[mask.bool()])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_first", [1, 4, 13])
def test_a_text_continued_is_the_text_at_once(kind: str, num_first: int) -> None:
    ours, theirs = pair(kind)
    ids = tokens(2, 14)
    expected = theirs(input_ids=ids).last_hidden_state
    first, past = ours(ids[:, :num_first], keep=True)
    rest, more = ours(ids[:, num_first:], past=past, keep=True)
    assert_near(torch.cat([first, rest], dim=1), expected)
    assert more[0][0].shape == (2, 2, 14, ours.config.head_dim)


@pytest.mark.parametrize("kind", ["llama", "gemma2", "gemma3"])
def test_fewer_layers_end_in_the_last_norm(kind: str) -> None:
    ours, theirs = pair(kind)
    cut = Decoder(ours.config)
    cut.load_state_dict(ours.state_dict())
    del cut.layers[2:]
    expected = theirs.norm(theirs(input_ids=tokens(1, 9), output_hidden_states=True).hidden_states[2])
    assert_near(cut(tokens(1, 9))[0], expected)


def test_names_are_those_of_transformers_in_their_order() -> None:
    for kind in KINDS:
        ours, theirs = pair(kind)
        assert list(ours.state_dict()) == list(theirs.state_dict())


def test_configs_that_cannot_be() -> None:
    sizes = {
        "vocab_size": 9,
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_layers": 1,
        "head_dim": 4,
        "norm_eps": 1e-6,
    }
    with pytest.raises(ConfigError, match="num_heads=3 cannot share num_kv_heads=2"):
        DecoderConfig(**sizes, num_heads=3, num_kv_heads=2)
    with pytest.raises(ConfigError, match="window=0 leaves nothing to see"):
        DecoderConfig(**sizes, num_heads=2, num_kv_heads=2, sliding_layers=(0,))
