"""What sets one decoder-only language model apart from another."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from sanakit.common.errors import ConfigError
from sanakit.layers.rotary import RotaryConfig


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
    rotary: RotaryConfig = field(default_factory=RotaryConfig)
    sliding_layers: tuple[int, ...] = ()  # those that see the last ``window`` tokens alone, by index
    sliding_rotary: RotaryConfig | None = None  # of these layers; None: ``rotary``
    window: int = 0
    query_scale: float | None = None  # of the products of queries and keys; None: 1 / sqrt(head_dim)
    logit_cap: float | None = None  # these products are bent to stay within +-cap
    attention_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False  # of every head's query and key (Gemma 3)
    is_gemma: bool = False  # norms scale by 1 + weight and follow attention and MLP too; embeddings times sqrt(C)

    def first_layers(self, num_layers: int) -> DecoderConfig:
        """The same cut behind so many layers."""
        sliding = tuple(index for index in self.sliding_layers if index < num_layers)
        return replace(self, num_layers=num_layers, sliding_layers=sliding)

    def __post_init__(self) -> None:
        if self.num_heads % self.num_kv_heads:
            raise ConfigError(f"num_heads={self.num_heads} cannot share num_kv_heads={self.num_kv_heads} evenly")
        if self.head_dim % 2:
            raise ConfigError(f"head_dim={self.head_dim} has no halves, which rotary positions turn together")
        if self.sliding_layers and self.window < 1:
            raise ConfigError(f"window={self.window} leaves nothing to see for the sliding layers; use 1 or more")
