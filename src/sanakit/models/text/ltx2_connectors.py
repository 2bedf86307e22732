"""What stands between a language model and LTX-2's transformer: the states of all its layers become one text.

States of each layer are brought to one range, projected together, followed by learned registers up to a fixed length,
and mixed by a small transformer. Source: LTX-2 (Lightricks).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sanakit.common.errors import ConfigError, ShapeError
from sanakit.kernels.pixel_norm import rms_normalised
from sanakit.layers.feed_forward import GeluFFN
from sanakit.layers.linear import Linear
from sanakit.layers.rotary import shared_turns
from sanakit.layers.softmax_attention import SoftmaxAttention
from sanakit.models.network import Network
from sanakit.models.text.text_condition import TextCondition

_EPS = 1e-6
_RANGE = 8.0  # of the states of a layer, from the smallest to the largest


@dataclass(frozen=True, kw_only=True, slots=True)
class LTX2ConnectorsConfig:
    """The published ones by default, behind Gemma 3 of 12B."""

    caption_channels: int = 3840  # of a state of the language model, and of the text that comes out
    num_states: int = 49  # of a token: its embedding, and one behind each layer
    num_layers: int = 2
    head_dim: int = 128
    num_registers: int = 128
    max_tokens: int = 1024  # of the text that comes out; longer ones are cut
    trained_on: int = 4096  # positions
    rope_theta: float = 10_000.0
    rope_halves: bool = True  # a channel's partner is half a head away; else its neighbour

    def __post_init__(self) -> None:
        least = min(self.caption_channels, self.num_states, self.num_registers, self.trained_on)
        if least < 1 or self.num_layers < 0:
            raise ConfigError(f"connectors need sizes of at least 1, not {self}")
        if self.head_dim < 2 or self.head_dim % 2 or self.caption_channels % self.head_dim:
            raise ConfigError(
                f"caption_channels={self.caption_channels} do not split into heads of head_dim={self.head_dim} "
                f"channels; pick an even number that divides them"
            )
        if self.max_tokens < 1 or self.max_tokens % self.num_registers:
            raise ConfigError(
                f"max_tokens={self.max_tokens} is no multiple of num_registers={self.num_registers}, which fill it up"
            )


class ConnectorBlock(nn.Module):
    """Self-attention and a feed-forward layer, each behind a norm, and added."""

    def __init__(self, config: LTX2ConnectorsConfig) -> None:
        super().__init__()
        size = config.caption_channels
        self.attention = SoftmaxAttention(size, head_dim=config.head_dim, qk_norm_eps=_EPS, halves=config.rope_halves)
        self.ffn = GeluFFN(size, 4 * size)

    def forward(self, x: Tensor, turns: Tensor) -> Tensor:
        x = x + self.attention(_normed(x), turns)
        return x + self.ffn(_normed(x))


class LTX2Connectors(Network):
    """The states of a text to what the transformer reads of it."""

    config: LTX2ConnectorsConfig

    def __init__(self, config: LTX2ConnectorsConfig) -> None:
        super().__init__()
        self.config = config
        size = config.caption_channels
        self.project = Linear(size * config.num_states, size, bias=False)
        self.registers = nn.Parameter(torch.empty(config.num_registers, size).uniform_(-1, 1))
        self.blocks = nn.ModuleList(ConnectorBlock(config) for _ in range(config.num_layers))

    @property
    def units(self) -> tuple[nn.Module, ...]:
        return tuple(self.blocks)

    @property
    def compute_dtype(self) -> torch.dtype:
        return self.registers.dtype

    def forward(self, states: Tensor) -> TextCondition:
        """All states of the tokens of a text, ``(B, L, C, num_states)``, none of them padding, to one of
        ``max_tokens``, all of which are seen.

        Raises:
            ShapeError: they are another language model's, or too many.
        """
        config = self.config
        fits = states.ndim == 4 and tuple(states.shape[2:]) == (config.caption_channels, config.num_states)
        if not fits or not 1 <= states.shape[1] <= config.max_tokens:
            raise ShapeError(
                f"states {tuple(states.shape)} of a text do not fit these connectors, which read (B, L, "
                f"{config.caption_channels}, {config.num_states}) with L from 1 to {config.max_tokens}"
            )
        x = self.project(in_one_range(states).flatten(2).to(self.compute_dtype))  # (B, L, C)
        rest = self.registers.repeat(config.max_tokens // config.num_registers, 1)[x.shape[1] :]
        x = torch.cat([x, rest.expand(len(x), -1, -1)], dim=1)
        places = torch.arange(config.max_tokens, device=x.device).float()[:, None] / config.trained_on
        turns = shared_turns(places, config.caption_channels, config.head_dim, theta=config.rope_theta)
        for block in self.blocks:
            x = block(x, turns)
        return TextCondition(_normed(x), torch.ones(x.shape[:2], dtype=torch.bool, device=x.device))


def in_one_range(states: Tensor) -> Tensor:
    """``(B, L, C, num_states)``, each state of a text less its mean, over its range, times 8; float32 or wider."""
    wide = states.to(torch.promote_types(states.dtype, torch.float32))
    width = wide.amax(dim=(1, 2), keepdim=True) - wide.amin(dim=(1, 2), keepdim=True)
    return (wide - wide.mean(dim=(1, 2), keepdim=True)) * (_RANGE / (width + _EPS))


def _normed(x: Tensor) -> Tensor:
    return rms_normalised(x, dim=-1, eps=_EPS).to(x.dtype)
