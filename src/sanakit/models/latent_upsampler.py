"""LTX-2's upsampler of latents (Lightricks): twice the rows and columns, before a clip is refined."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from sanakit.common.errors import ConfigError, ShapeError
from sanakit.layers.causal import by_frame
from sanakit.models.network import Network

_GROUPS = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class LatentUpsamplerConfig:
    """The published one by default."""

    in_channels: int = 128
    hidden_channels: int = 1024
    num_blocks: int = 4  # before the step, and behind it

    def __post_init__(self) -> None:
        if self.in_channels < 1 or self.num_blocks < 0:
            raise ConfigError(f"an upsampler needs channels of at least 1, not {self}")
        if self.hidden_channels < 1 or self.hidden_channels % _GROUPS:
            raise ConfigError(f"hidden_channels={self.hidden_channels} must be a multiple of {_GROUPS}, its groups")


class UpsamplerBlock(nn.Module):
    """Convolution, group norm, SiLU, convolution, group norm; the input added before the last SiLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv3d(channels, channels, 3, padding=1) for _ in range(2))
        self.norm1, self.norm2 = (nn.GroupNorm(_GROUPS, channels) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(x + self.norm2(self.conv2(F.silu(self.norm1(self.conv1(x))))))


class LatentUpsampler(Network):
    """A latent as its autoencoder gives it, not scaled, ``(B, C, T, H, W)`` to ``(B, C, T, 2H, 2W)``."""

    config: LatentUpsamplerConfig

    def __init__(self, config: LatentUpsamplerConfig) -> None:
        super().__init__()
        self.config = config
        hidden = config.hidden_channels
        self.conv_in = nn.Conv3d(config.in_channels, hidden, 3, padding=1)
        self.norm_in = nn.GroupNorm(_GROUPS, hidden)
        self.before, self.behind = (
            nn.ModuleList(UpsamplerBlock(hidden) for _ in range(config.num_blocks)) for _ in range(2)
        )
        self.up = nn.Conv2d(hidden, 4 * hidden, 3, padding=1)
        self.conv_out = nn.Conv3d(hidden, config.in_channels, 3, padding=1)

    @property
    def units(self) -> tuple[nn.Module, ...]:
        return (*self.before, *self.behind)

    def forward(self, latent: Tensor) -> Tensor:
        """Twice the sides.

        Raises:
            ShapeError: the channels do not fit.
        """
        if latent.ndim != 5 or latent.shape[1] != self.config.in_channels:
            raise ShapeError(
                f"a latent {tuple(latent.shape)} does not fit this upsampler, which reads "
                f"(B, {self.config.in_channels}, T, H, W)"
            )
        x = F.silu(self.norm_in(self.conv_in(latent)))
        for block in self.before:
            x = block(x)
        x = by_frame(lambda frame: F.pixel_shuffle(self.up(frame), 2), x)
        for block in self.behind:
            x = block(x)
        return self.conv_out(x)
