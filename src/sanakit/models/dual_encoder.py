"""A small dual encoder: a picture tower and a text tower over features of frozen networks, scored by an inner product.

Both towers are the same few transformer blocks around learned queries. They read what other networks have made of a
picture (a grid of patches) and of a text (hidden states of a language model), and give unit vectors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sanakit.common.errors import ConfigError, ShapeError
from sanakit.models.network import Network
from sanakit.models.text.text_condition import TextCondition

_MIN_SPLIT, _SPLITS = 32, 4  # texts of a batch that is split by length, and its parts


@dataclass(frozen=True, kw_only=True, slots=True)
class DualEncoderConfig:
    """Sizes of both towers."""

    picture_channels: int  # of one patch
    num_patches: int
    text_channels: int  # of a token of the language model
    hidden_size: int = 192
    head_dim: int = 32
    mlp_ratio: float = 2.0
    num_picture_layers: int = 2
    num_text_layers: int = 2
    embed_size: int = 192
    num_queries: int = 1  # each gives its share of the vector
    num_text_positions: int = 64  # tokens beyond share the last one; 0: none at all
    num_language_layers: int | None = None  # of the language model that are run, from the first one; None: all

    def __post_init__(self) -> None:
        if self.hidden_size % self.head_dim:
            raise ConfigError(
                f"hidden_size={self.hidden_size} does not split into heads of {self.head_dim} channels; "
                f"pick a head_dim that divides it"
            )
        for name in ("picture_channels", "num_patches", "text_channels", "embed_size", "num_queries"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)} must be at least 1")
        if self.embed_size % self.num_queries:
            raise ConfigError(f"embed_size={self.embed_size} does not split over num_queries={self.num_queries}")


class EncoderBlock(nn.Module):
    """Softmax self-attention and an MLP, each after a norm and added to what comes in."""

    def __init__(self, config: DualEncoderConfig) -> None:
        super().__init__()
        width, inner = config.hidden_size, round(config.hidden_size * config.mlp_ratio)
        self.head_dim = config.head_dim
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """``(B, N, C)`` to the same; ``mask`` ``(B, N)`` bool is True where there is something to attend to."""
        q, k, v = self.qkv(self.norm_attention(hidden)).unflatten(-1, (3, -1, self.head_dim)).unbind(2)
        allowed = None if mask is None else mask[:, None, None, :]  # (B, 1, 1, N)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # (B, heads, N, D)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed).transpose(1, 2).flatten(2)
        hidden = hidden + self.proj(mixed)
        return hidden + self.down(F.gelu(self.up(self.norm_mlp(hidden)), approximate="tanh"))


class Tower(nn.Module):
    """A set of feature vectors to one unit vector: learned queries read them through the blocks.

    All queries share their weights and the projection at the end, so that what a thing looks like is learned once and
    each query finds its own place or role for it: two things in a relation are told apart by which query saw which.

    ``mean`` and ``std`` are statistics of the features, set before training, so that loud channels do not rule.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: DualEncoderConfig, channels: int, num_layers: int, num_positions: int) -> None:
        super().__init__()
        width = config.hidden_size
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))
        self.proj_in = nn.Linear(channels, width)
        self.num_queries = config.num_queries
        self.query = nn.Parameter(
            (0.02 if config.num_queries == 1 else 0.5) * torch.randn(1, config.num_queries, width)
        )
        self.positions = nn.Parameter(0.02 * torch.randn(num_positions, width)) if num_positions else None
        self.blocks = nn.ModuleList(EncoderBlock(config) for _ in range(num_layers))
        self.norm_out = nn.LayerNorm(width)
        self.proj_out = nn.Linear(width, config.embed_size // config.num_queries, bias=False)

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(B, N, channels)`` and ``(B, N)`` bool to unit vectors ``(B, embed_size)`` in float32 or wider."""
        hidden = self.proj_in((features - self.mean) / self.std)  # (B, N, C)
        if self.positions is not None:
            places = torch.arange(hidden.shape[1], device=hidden.device).clamp(max=len(self.positions) - 1)
            hidden = hidden + self.positions[places]
        hidden = torch.cat([self.query.expand(len(hidden), -1, -1).to(hidden.dtype), hidden], dim=1)
        if mask is not None:
            mask = F.pad(mask, (self.num_queries, 0), value=True)
        for block in self.blocks:
            hidden = block(hidden, mask)
        out = self.proj_out(self.norm_out(hidden[:, : self.num_queries])).flatten(1)  # (B, embed_size)
        return F.normalize(out.to(torch.promote_types(out.dtype, torch.float32)), dim=-1)


class DualEncoder(Network):
    """Patches and text states to unit vectors; their inner product, scaled and shifted, is the logit of "they match".

    The states of a causal language model know what stands before a word and not what follows: in "a cat to the left of
    a dog" the cat's state says nothing of left. Positions in the text tower let it find out.

    Source: the sigmoid form of Zhai et al., Sigmoid Loss for Language Image Pre-Training, arXiv:2303.15343.
    """

    def __init__(self, config: DualEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.picture = Tower(config, config.picture_channels, config.num_picture_layers, config.num_patches)
        self.text = Tower(config, config.text_channels, config.num_text_layers, config.num_text_positions)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.bias = nn.Parameter(torch.tensor(-5.0))  # the log odds of a match in a batch of 150

    def encode_pictures(self, patches: Tensor) -> Tensor:
        """``(B, num_patches, picture_channels)`` to ``(B, embed_size)``."""
        wanted = (self.config.num_patches, self.config.picture_channels)
        if patches.ndim != 3 or tuple(patches.shape[1:]) != wanted:
            raise ShapeError(f"patches of shape {tuple(patches.shape)} are not (B, {wanted[0]}, {wanted[1]})")
        return self.picture(patches)

    def encode_texts(self, text: TextCondition) -> Tensor:
        """Embeds ``(B, L, text_channels)`` to ``(B, embed_size)``; padding is on the right and has no influence.

        Of a large batch short and long texts run apart: a few long ones would fill up all others.
        """
        if text.embeds.shape[2] != self.config.text_channels:
            raise ShapeError(f"text of {text.embeds.shape[2]} channels; this encoder reads {self.config.text_channels}")
        if len(text.mask) < _MIN_SPLIT:
            return self.text(text.embeds, text.mask)
        lengths = text.mask.sum(1)
        parts, encoded = lengths.argsort(stable=True).tensor_split(_SPLITS), []
        for part in parts:
            longest = int(lengths[part].max())
            encoded.append(self.text(text.embeds[part, :longest], text.mask[part, :longest]))
        return torch.cat(encoded)[torch.cat(parts).argsort()]

    def forward(self, patches: Tensor, text: TextCondition) -> Tensor:
        """Pictures ``(B, num_patches, picture_channels)`` and ``M`` texts to the logits of all pairs ``(B, M)``."""
        pictures, texts = self.encode_pictures(patches), self.encode_texts(text)
        with torch.autocast(patches.device.type, enabled=False):  # a scale of 50 makes bfloat16 too coarse
            return pictures @ texts.mT * self.log_scale.exp() + self.bias

    def logits(self, picture_embeds: Tensor, text_embeds: Tensor) -> Tensor:
        """``(..., embed_size)`` twice to ``(...)``: the logit that picture and text at the same place match."""
        return (picture_embeds * text_embeds).sum(-1) * self.log_scale.exp() + self.bias
