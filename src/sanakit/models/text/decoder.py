"""Decoder-only language models: the Llama form, Gemma 2 and Gemma 3, which differ by their config alone.

Parameters are named as in transformers, so that files are read without a table of names. The order of operations is
theirs too: hidden states are equal to the last bits in float32 and bfloat16.

Source: Llama 2, arXiv:2307.09288; Gemma 2, arXiv:2408.00118; Gemma 3, arXiv:2503.19786.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sanakit.common.errors import ConfigError
from sanakit.models.network import Network

KeysValues = tuple[tuple[Tensor, Tensor], ...]
"""Per layer, keys (already rotated) and values of the tokens so far, each ``(B, num_kv_heads, L, D)``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DecoderConfig:
    """The defaults are the Llama form's."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    norm_eps: float
    activation: Literal["silu", "gelu", "gelu_tanh"] = "silu"  # of the gate
    rope_theta: float = 10_000.0
    rope_factor: float = 1.0  # positions are divided by it
    local_rope_theta: float | None = None  # where a layer sees its window alone, with factor 1; None: as elsewhere
    sliding_layers: tuple[int, ...] = ()  # those that see the last ``window`` tokens alone, by index
    window: int = 0
    query_scale: float | None = None  # of the products of queries and keys; None: 1 / sqrt(head_dim)
    logit_cap: float | None = None  # these products are bent to stay within +-cap
    attention_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False  # of every head's query and key (Gemma 3)
    is_gemma: bool = False  # norms scale by 1 + weight and follow attention and MLP too; embeddings times sqrt(C)

    def __post_init__(self) -> None:
        if self.num_heads % self.num_kv_heads:
            raise ConfigError(f"num_heads={self.num_heads} cannot share num_kv_heads={self.num_kv_heads} evenly")
        if self.sliding_layers and self.window < 1:
            raise ConfigError(f"window={self.window} leaves nothing to see for the sliding layers; use 1 or more")


class DecoderNorm(nn.Module):
    """``x / rms(x) * weight`` over the last axis; Gemma's weight is kept as its difference from 1, and multiplied
    before the result is rounded to the dtype of ``x`` instead of after."""

    def __init__(self, channels: int, config: DecoderConfig) -> None:
        super().__init__()
        self.eps, self.is_gemma = config.norm_eps, config.is_gemma
        self.weight = nn.Parameter(torch.zeros(channels) if self.is_gemma else torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        if self.is_gemma:
            return (normed * (1.0 + self.weight.float())).to(x.dtype)
        return self.weight * normed.to(x.dtype)


class DecoderAttention(nn.Module):
    """Softmax attention to what ``mask`` shows, with rotary positions and keys that several heads share."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.head_dim, self.logit_cap = config.head_dim, config.logit_cap
        self.scale = config.head_dim**-0.5 if config.query_scale is None else config.query_scale
        width, kv_width = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, width, bias=config.attention_bias)
        self.k_proj = nn.Linear(config.hidden_size, kv_width, bias=config.attention_bias)
        self.v_proj = nn.Linear(config.hidden_size, kv_width, bias=config.attention_bias)
        self.o_proj = nn.Linear(width, config.hidden_size, bias=config.attention_bias)
        self.q_norm = DecoderNorm(config.head_dim, config) if config.qk_norm else nn.Identity()
        self.k_norm = DecoderNorm(config.head_dim, config) if config.qk_norm else nn.Identity()

    def forward(
        self, x: Tensor, rotary: tuple[Tensor, Tensor], mask: Tensor | None, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        q, k, v = (
            projection(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)  # (B, heads, L, D)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = _rotate(self.q_norm(q), *rotary), _rotate(self.k_norm(k), *rotary)
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        attended = _attention(q, k, v, mask, scale=self.scale, cap=self.logit_cap)
        return self.o_proj(attended.transpose(1, 2).flatten(2)), (k, v)


class GatedMLP(nn.Module):
    """``down(act(gate(x)) * up(x))``: SwiGLU or GeGLU by the activation."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.activation = config.activation
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.mlp_bias)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.mlp_bias)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=config.mlp_bias)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.gate_proj(x)
        if self.activation == "silu":
            gate = F.silu(gate)
        else:
            gate = F.gelu(gate, approximate="tanh" if self.activation == "gelu_tanh" else "none")
        hidden: Tensor = self.down_proj(gate * self.up_proj(x))
        return hidden


class DecoderLayer(nn.Module):
    """Attention and MLP, each with a norm before it and, in Gemma, one behind it."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.self_attn = DecoderAttention(config)
        self.mlp = GatedMLP(config)
        self.input_layernorm = DecoderNorm(config.hidden_size, config)
        self.post_attention_layernorm = DecoderNorm(config.hidden_size, config)  # Llama's name for that before the MLP
        self.is_gemma = config.is_gemma
        if self.is_gemma:
            self.pre_feedforward_layernorm = DecoderNorm(config.hidden_size, config)
            self.post_feedforward_layernorm = DecoderNorm(config.hidden_size, config)

    def forward(
        self, x: Tensor, rotary: tuple[Tensor, Tensor], mask: Tensor | None, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        attended, keys_values = self.self_attn(self.input_layernorm(x), rotary, mask, past)
        if not self.is_gemma:
            x = x + attended
            return x + self.mlp(self.post_attention_layernorm(x)), keys_values
        x = x + self.post_attention_layernorm(attended)
        return x + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x))), keys_values


class Decoder(Network):
    """Token ids to the hidden states behind the last norm."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        table = torch.empty(config.vocab_size, config.hidden_size).uniform_(
            -1, 1
        )  # normal_ on meta imports dynamo: 2 s
        self.embed_tokens = nn.Embedding.from_pretrained(table, freeze=False)
        self.layers = nn.ModuleList([DecoderLayer(config) for _ in range(config.num_layers)])
        self.norm = DecoderNorm(config.hidden_size, config)

    @property
    def units(self) -> tuple[nn.Module, ...]:
        return tuple(self.layers)

    @property
    def attention(self) -> str:
        """What transformers calls the way in which attention is computed here."""
        return "sdpa" if self.config.logit_cap is None else "eager"

    def forward(
        self, ids: Tensor, *, mask: Tensor | None = None, past: Sequence[tuple[Tensor, Tensor]] = (), keep: bool = False
    ) -> tuple[Tensor, KeysValues]:
        """Hidden states ``(B, L, C)`` and, where they are to be kept, all keys and values.

        Args:
            ids: ``(B, L)``; they stand behind the tokens of ``past`` and attend to these and to one another.
            mask: ``(B, past + L)``, 0 or False at padding, on either side; None where there is none. Positions count
                from the first column, padding or not.
            past: what an earlier call kept of the tokens before these.
            keep: without it the second result is empty.
        """
        config, kept = self.config, []
        num_past = past[0][0].shape[2] if past else 0
        x = self.embed_tokens(ids)
        if config.is_gemma:
            x = x * torch.tensor(config.hidden_size**0.5, dtype=x.dtype, device=x.device)
        positions = torch.arange(num_past, num_past + ids.shape[1], device=ids.device)
        everywhere = (_rotary(positions, config, local=False, like=x), self._visible(positions, mask, window=None))
        nearby = (_rotary(positions, config, local=True, like=x), self._visible(positions, mask, window=config.window))
        for index, layer in enumerate(self.layers):
            rotary, visible = nearby if index in config.sliding_layers else everywhere
            x, keys_values = layer(x, rotary, visible, past[index] if past else None)
            if keep:
                kept.append(keys_values)
        return self.norm(x), tuple(kept)

    def _visible(self, positions: Tensor, padding: Tensor | None, window: int | None) -> Tensor | None:
        """Which keys every query sees, ``(1 or B, 1, L, past + L)`` bool; None where a kernel knows it: all of the
        past for a lone query, and a triangle where there is no past."""
        num_queries, num_keys = len(positions), int(positions[-1]) + 1
        padding = None if padding is None or bool(padding.all()) else padding.bool()
        fits = window is None or num_keys < window
        if self.config.logit_cap is None and padding is None and fits and num_queries in (1, num_keys):
            return None
        keys = torch.arange(num_keys, device=positions.device)
        visible = keys <= positions[:, None]
        if window is not None:
            visible = visible & (keys > positions[:, None] - window)
        return visible[None, None] if padding is None else visible & padding[:, None, None]


def _rotary(positions: Tensor, config: DecoderConfig, *, local: bool, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines ``(L, D)`` by which queries and keys are turned, in the dtype of ``like``."""
    theta, factor = config.rope_theta, config.rope_factor
    if local and config.local_rope_theta is not None:
        theta, factor = config.local_rope_theta, 1.0
    frequencies = 1.0 / theta ** (torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim)
    frequencies = frequencies / factor
    angles = positions[:, None].float() * frequencies.to(positions.device)
    angles = torch.cat([angles, angles], dim=-1)  # (L, D)
    return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions (RoFormer, arXiv:2104.09864) with a channel's partner half a head away."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


def _attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, *, scale: float, cap: float | None) -> Tensor:
    """``(B, heads, L, D)``; without a mask every query sees the keys up to its own, a lone one all."""
    groups = q.shape[1] // k.shape[1]
    if mask is None:
        causal = q.shape[2] > 1
        return F.scaled_dot_product_attention(q, k, v, scale=scale, is_causal=causal, enable_gqa=groups > 1)
    k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
    if cap is None:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    logits = torch.tanh(q @ k.mT * scale / cap) * cap  # (B, heads, L, past + L)
    logits = logits.masked_fill(~mask, torch.finfo(logits.dtype).min)
    return logits.softmax(dim=-1, dtype=torch.float32).to(q.dtype) @ v
