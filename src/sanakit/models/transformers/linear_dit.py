"""The linear diffusion transformer of SANA (arXiv:2410.10629) and SANA-1.5 (arXiv:2501.18427).

One network for every size: no resolution is built in, and the text enters through cross-attention only, so all that
depends on the prompt alone is computed once by ``prepare`` and reused by ``forward`` at every step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from sanakit.common.errors import ConfigError, ShapeError
from sanakit.kernels.modulated_norm import gated_sum, modulated_norm
from sanakit.layers.cross_attention import AttendedText, CrossAttention, Places
from sanakit.layers.embeddings import CaptionProjection, ScalarEmbedding, added_position, check_interpolation
from sanakit.layers.linear import Linear
from sanakit.layers.linear_attention import LinearAttention
from sanakit.layers.mix_ffn import MixFFN
from sanakit.layers.norms import RMSNorm
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.condition import Beside, Condition
from sanakit.models.transformers.prompted import Prompted, PromptedTransformer, table, two_rows
from sanakit.models.transformers.whole_block import PlainBlock, at_once


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearDiTConfig:
    """Every published SANA image transformer is one of these."""

    hidden_size: int
    num_layers: int
    cross_head_dim: int
    head_dim: int = 32
    in_channels: int = 32
    out_channels: int = 32
    patch_size: int = 1
    caption_channels: int = 2304
    mlp_ratio: float = 2.5
    qk_norm: bool = False  # SANA-1.5 and Sprint
    guidance_embeds: bool = False  # Sprint
    guidance_scale_factor: float = 0.1
    timestep_scale: float = 1.0  # 0.001 of Sprint, whose embedding reads the noise level itself
    interpolation_scale: float | None = None  # of the positional embedding; None = none, as up to 1024 px
    sample_size: int = 32  # side of the latent that it was trained on
    attention_eps: float = 1e-15
    qk_norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        for name, head_dim in (("head_dim", self.head_dim), ("cross_head_dim", self.cross_head_dim)):
            if head_dim < 1 or self.hidden_size % head_dim:
                raise ConfigError(
                    f"hidden_size={self.hidden_size} does not split into heads of {name}={head_dim} channels; "
                    f"pick a {name} that divides it"
                )
        sizes = ("hidden_size", "num_layers", "in_channels", "out_channels", "patch_size", "caption_channels")
        for name in (*sizes, "inner_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)} must be at least 1")
        check_interpolation(self.interpolation_scale, self.hidden_size)
        if self.sample_size < self.patch_size:
            raise ConfigError(f"a latent of sample_size={self.sample_size} holds no patch of {self.patch_size}")

    @property
    def inner_size(self) -> int:
        """Channels behind the gate of the Mix-FFN."""
        return int(self.mlp_ratio * self.hidden_size)


class Block(PlainBlock):
    """Modulated linear attention, cross-attention, modulated Mix-FFN; each adds to its input."""

    def __init__(self, config: LinearDiTConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.scale_shift_table = nn.Parameter(table(6, size))
        self.attention = LinearAttention(
            size,
            head_dim=config.head_dim,
            qk_norm=config.qk_norm,
            eps=config.attention_eps,
            qk_norm_eps=config.qk_norm_eps,
        )
        self.cross_attention = CrossAttention(
            size, head_dim=config.cross_head_dim, qk_norm=config.qk_norm, qk_norm_eps=config.qk_norm_eps
        )
        self.mix_ffn = MixFFN(size, config.inner_size)

    def forward(
        self,
        x: Tensor,
        modulation: Tensor,
        text: AttendedText,
        size: tuple[int, int],
        identity_rows: Tensor | None = None,
    ) -> Tensor:
        """``x (B, N, C)``, ``modulation (B, 6, C)`` and what ``prepare`` made of the text to ``(B, N, C)``.

        ``size`` is the height and width of the grid of tokens; ``identity_rows`` is ``(B,)`` bool.
        """
        height, width = size
        shift1, scale1, gate1, shift2, scale2, gate2 = (self.scale_shift_table + modulation).chunk(6, dim=1)
        x = gated_sum(x, gate1, self.attention(modulated_norm(x, shift1, scale1), identity_rows=identity_rows))
        x = x + self.cross_attention(x, text)
        return gated_sum(x, gate2, self.mix_ffn(modulated_norm(x, shift2, scale2), height=height, width=width))


class Embedders(Prompted):
    """What stands before the blocks: latents, times and texts as tokens and modulation of one width."""

    config: LinearDiTConfig
    caption_norm: RMSNorm

    def __init__(self, config: LinearDiTConfig) -> None:
        super().__init__()
        self.config = config
        size, patch = config.hidden_size, config.patch_size
        self.patch_embed = nn.Conv2d(config.in_channels, size, patch, stride=patch)
        self.time_embed = ScalarEmbedding(size)
        self.guidance_embed = ScalarEmbedding(size) if config.guidance_embeds else None
        self.modulation = nn.Linear(size, 6 * size)
        self.caption_projection = CaptionProjection(config.caption_channels, size)
        self.caption_norm = RMSNorm(size, eps=1e-5)

    def tokens(self, latent: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, N, C)``, without positions; every sum with it takes its layout."""
        return self.patch_embed(latent).flatten(2).mT.contiguous()

    def read_in(self, latent: Tensor, text: TextCondition) -> tuple[Tensor, Tensor, Places | None]:
        """`tokens` of a latent and `embed` of a text, for networks beside this one."""
        return self.tokens(latent.to(self.compute_dtype)), *self.embed(text)

    def position(self, size: tuple[int, int], x: Tensor) -> Tensor | float:
        """What is added to the tokens ``x`` of a grid."""
        base, scale = self.config.sample_size // self.config.patch_size, self.config.interpolation_scale
        return added_position(size, x, base_size=base, interpolation_scale=scale)

    def time(self, timestep: Tensor, guidance: Tensor | None) -> Tensor:
        """``(B,)`` to ``(B, C)``."""
        time = two_rows(self.time_embed, timestep * self.config.timestep_scale)
        if (self.guidance_embed is None) != (guidance is None):
            raise ShapeError("a guidance scale per row belongs to networks with a guidance embedding, and to no other")
        if self.guidance_embed is not None and guidance is not None:
            time = time + two_rows(self.guidance_embed, guidance * self.config.guidance_scale_factor)
        return time

    def modulate(self, time: Tensor) -> Tensor:
        """``(B, C)`` to what all blocks share, ``(B, 6, C)``."""
        return two_rows(self.modulation, F.silu(time)).unflatten(-1, (6, -1))


class LinearDiT(Embedders, PromptedTransformer):
    """Velocity of a noisy latent, given its noise level and a prompt."""

    outside_forward: ClassVar[tuple[str, ...]] = ("prepare", "read_in")

    def __init__(self, config: LinearDiTConfig) -> None:
        super().__init__(config)
        size, patch = config.hidden_size, config.patch_size
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.final_scale_shift_table = nn.Parameter(table(2, size))
        self.final = Linear(size, patch * patch * config.out_channels)

    def forward(self, latent: Tensor, timestep: Tensor, condition: Condition) -> Tensor:
        """Predict ``noise - latent``.

        Args:
            latent: noisy latent ``(B, C, H, W)``; both sides multiples of the patch size.
            timestep: ``(B,)``, ``1000 * sigma``, in any float dtype.
            condition: what ``prepare`` made of the ``B`` prompts, and what its methods made of that.

        Returns:
            velocity ``(B, C, H, W)`` in the dtype of the network's input.

        Raises:
            ShapeError: the channels, the sides, the number of times or prompts, or the guidance do not fit.
        """
        self._check(latent, timestep, condition)
        patch = self.config.patch_size
        height, width = latent.shape[-2] // patch, latent.shape[-1] // patch
        x = self.tokens(latent)  # (B, N, C)
        x = x + self.position((height, width), x)
        time = self.time(timestep, condition.guidance)  # (B, C)
        modulation = self.modulate(time)
        whole = at_once(self.units, x, modulation, condition, (height, width))
        added: Mapping[int, Tensor] = {}  # behind blocks, by number, by the networks beside this one
        for index, block in enumerate(self.blocks if whole is None else ()):
            x = block(x, modulation, condition.text_of(index), (height, width), condition.perturbed.get(index))
            if index == 0:
                added = condition.beside_blocks(Beside(latent, timestep, x, modulation))
            if index in added:
                x = x + added[index]
        x = x if whole is None else whole
        shift, scale = (self.final_scale_shift_table + time[:, None]).chunk(2, dim=1)
        x = self.final(modulated_norm(x, shift, scale))  # (B, N, patch * patch * C)
        x = x.unflatten(1, (height, width)).unflatten(-1, (patch, patch, -1))  # (B, H, W, p, p, C)
        return x.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)  # (B, C, H * p, W * p)

    def _check(self, latent: Tensor, timestep: Tensor, condition: Condition) -> None:
        channels, patch = self.config.in_channels, self.config.patch_size
        if latent.ndim != 4 or latent.shape[1] != channels or latent.shape[2] % patch or latent.shape[3] % patch:
            raise ShapeError(
                f"a latent {tuple(latent.shape)} does not fit this network, which reads (B, {channels}, H, W) with "
                f"both sides multiples of {patch}"
            )
        if timestep.shape != latent.shape[:1] or condition.batch_size != latent.shape[0]:
            raise ShapeError(
                f"{latent.shape[0]} latents with {condition.batch_size} prompts and times {tuple(timestep.shape)} do "
                f"not fit; every latent needs one prompt and one time"
            )
