"""Decoder-only language models: the Llama form, Gemma 2 and Gemma 3, which differ by their config alone.

Parameters are named as in transformers, so that files are read without a table of names. The order of operations is
theirs too: hidden states are equal to the last bits in float32 and bfloat16.

Source: Llama 2, arXiv:2307.09288; Gemma 2, arXiv:2408.00118; Gemma 3, arXiv:2503.19786.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sanakit.layers.rotary import rotate, turns
from sanakit.models.network import Network
from sanakit.models.text.causal_attention import attend, visible_keys
from sanakit.models.text.decoder_config import DecoderConfig

KeysValues = tuple[Tensor, Tensor]
"""Keys (already rotated) and values of one layer for the tokens so far, each ``(B, num_kv_heads, L, D)``."""

_View = tuple[tuple[Tensor, Tensor], Tensor | None]  # cosines and sines of the queries' positions; the keys they see
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
}


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
    """Softmax attention to the tokens so far, with rotary positions and keys that several heads share."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.head_dim, self.cap = config.head_dim, config.logit_cap
        self.scale = config.head_dim**-0.5 if config.query_scale is None else config.query_scale
        width, kv_width = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, width, bias=config.attention_bias)
        self.k_proj = nn.Linear(config.hidden_size, kv_width, bias=config.attention_bias)
        self.v_proj = nn.Linear(config.hidden_size, kv_width, bias=config.attention_bias)
        self.o_proj = nn.Linear(width, config.hidden_size, bias=config.attention_bias)
        self.q_norm = DecoderNorm(config.head_dim, config) if config.qk_norm else nn.Identity()
        self.k_norm = DecoderNorm(config.head_dim, config) if config.qk_norm else nn.Identity()

    def forward(self, x: Tensor, view: _View, past: KeysValues | None) -> tuple[Tensor, KeysValues]:
        (cos, sin), visible = view
        q, k, v = (
            projection(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)  # (B, heads, L, D)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = rotate(self.q_norm(q), cos, sin), rotate(self.k_norm(k), cos, sin)
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)  # (B, num_kv_heads, past + L, D)
        attended = attend(q, k, v, visible, scale=self.scale, cap=self.cap)
        return self.o_proj(attended.transpose(1, 2).flatten(2)), (k, v)


class GatedMLP(nn.Module):
    """``down(act(gate(x)) * up(x))``: SwiGLU or GeGLU by the activation."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.activation = _ACTIVATIONS[config.activation]
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.mlp_bias)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.mlp_bias)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=config.mlp_bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.activation(self.gate_proj(x)) * self.up_proj(x))


class DecoderLayer(nn.Module):
    """Attention and MLP, each with a norm before it and, in Gemma, one behind it."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.is_gemma = config.is_gemma
        self.self_attn = DecoderAttention(config)
        self.mlp = GatedMLP(config)
        self.input_layernorm = DecoderNorm(config.hidden_size, config)
        self.post_attention_layernorm = DecoderNorm(config.hidden_size, config)  # Llama's name for that before the MLP
        if self.is_gemma:
            self.pre_feedforward_layernorm = DecoderNorm(config.hidden_size, config)
            self.post_feedforward_layernorm = DecoderNorm(config.hidden_size, config)

    def forward(self, x: Tensor, view: _View, past: KeysValues | None) -> tuple[Tensor, KeysValues]:
        attended, keys_values = self.self_attn(self.input_layernorm(x), view, past)
        if self.is_gemma:
            x = x + self.post_attention_layernorm(attended)
            x = x + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x)))
        else:
            x = x + attended
            x = x + self.mlp(self.post_attention_layernorm(x))
        return x, keys_values


class Decoder(Network):
    """Token ids to the hidden states behind the last norm."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        table = torch.empty(config.vocab_size, config.hidden_size).uniform_(-1, 1)  # meta's normal_ imports a compiler
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
        self,
        ids: Tensor,
        *,
        mask: Tensor | None = None,
        past: Sequence[KeysValues] = (),
        keep: bool = False,
        every: bool = False,
    ) -> tuple[Tensor, tuple[KeysValues, ...]]:
        """Hidden states ``(B, L, C)`` and, where they are to be kept, all keys and values.

        Args:
            ids: ``(B, L)``; they stand behind the tokens of ``past`` and attend to these and to one another.
            mask: ``(B, past + L)``, 0 or False at padding, on either side; None where there is none. Positions count
                from the first column, padding or not.
            past: what an earlier call kept of the tokens before these.
            keep: without it the second result is empty.
            every: give the states before the first layer and behind each, ``(B, L, C, num_layers + 1)``, of which the
                last alone are normed.
        """
        config, kept, states = self.config, [], list[Tensor]()
        x = self.embed_tokens(ids).to(self.compute_dtype)  # (B, L, C); the table may stay as it is stored
        if config.is_gemma:
            x = x * torch.tensor(config.hidden_size**0.5, dtype=x.dtype, device=x.device)
        num_past = past[0][0].shape[2] if past else 0
        positions = torch.arange(num_past, num_past + ids.shape[1], device=ids.device)
        padding = None if mask is None or bool(mask.all()) else mask.bool()
        whole = self._view(positions, padding, x.dtype, is_sliding=False)
        sliding = self._view(positions, padding, x.dtype, is_sliding=True) if config.sliding_layers else whole
        for index, layer in enumerate(self.layers):
            view = sliding if index in config.sliding_layers else whole
            if every:
                states.append(x)
            x, keys_values = layer(x, view, past[index] if past else None)
            if keep:
                kept.append(keys_values)
        last = self.norm(x)
        return torch.stack([*states, last], dim=-1) if every else last, tuple(kept)

    def _view(self, positions: Tensor, padding: Tensor | None, dtype: torch.dtype, *, is_sliding: bool) -> _View:
        """Without a mask where a kernel knows it: a triangle where there is no past, all of it for a lone query."""
        config, num_keys = self.config, int(positions[-1]) + 1
        window = config.window if is_sliding and config.window < num_keys else None
        rotary = config.sliding_rotary if is_sliding and config.sliding_rotary else config.rotary
        known = config.logit_cap is None and padding is None and window is None and len(positions) in (1, num_keys)
        visible = None if known else visible_keys(positions, padding, window)
        return turns(positions, config.head_dim, rotary, dtype), visible
