"""Wan 2.1's causal autoencoder of clips (arXiv:2503.20314): 4 frames and 8 x 8 pixels to one position of the latent.

Each is told of the frames before it by ``ClipMemory``, so that a clip in one piece and in chunks is the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sanakit.common.errors import ConfigError
from sanakit.layers.causal import CausalConv3d, ChannelRMSNorm, ClipMemory, by_frame
from sanakit.models.autoencoders.clips import ClipAutoencoder

# Of every channel of the published autoencoder's latents.
_MEAN = (
    -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
    0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
)  # fmt: skip
_STD = (
    2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
    3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class WanAutoencoderConfig:
    """The published one by default; smaller ones are the same with fewer channels."""

    channels: tuple[int, ...] = (96, 192, 384, 384)  # of stages, each of half the height and width of the one before
    num_blocks: int = 2  # of a stage of the encoder; the decoder's have one more
    halves_time: tuple[bool, ...] = (False, True, True)  # for each step from a stage to the next
    latent_channels: int = 16
    in_channels: int = 3
    mean: tuple[float, ...] = _MEAN  # of the latent as the encoder gives it, by channel
    std: tuple[float, ...] = _STD

    def __post_init__(self) -> None:
        if not self.channels or min(*self.channels, self.num_blocks, self.latent_channels, self.in_channels) < 1:
            raise ConfigError(f"an autoencoder needs channels and blocks of at least 1, not {self}")
        if min(self.channels) < 2:
            raise ConfigError(f"channels={self.channels}: those of a stage are halved for the next, so give 2 or more")
        if len(self.halves_time) != len(self.channels) - 1:
            raise ConfigError(
                f"halves_time={self.halves_time} must say it for the {len(self.channels) - 1} steps between stages"
            )
        if not len(self.mean) == len(self.std) == self.latent_channels or not all(std > 0 for std in self.std):
            raise ConfigError(f"mean and std, above 0, are due for all {self.latent_channels} channels of the latent")

    @property
    def compression(self) -> int:
        return 2 ** len(self.halves_time)

    @property
    def temporal_compression(self) -> int:
        return 2 ** sum(self.halves_time)


class ResBlock(nn.Module):
    """Norm, SiLU, convolution, twice; and the input added."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = ChannelRMSNorm(channels, axes=3), CausalConv3d(channels, out, (3, 3, 3))
        self.norm2, self.conv2 = ChannelRMSNorm(out, axes=3), CausalConv3d(out, out, (3, 3, 3))
        self.shortcut = CausalConv3d(channels, out, (1, 1, 1)) if channels != out else None

    def forward(self, x: Tensor, memory: ClipMemory) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)), memory)
        y = self.conv2(F.silu(self.norm2(y)), memory)
        return y + (x if self.shortcut is None else self.shortcut(x, memory))


class FrameAttention(nn.Module):
    """Softmax attention of one head over the pixels of each frame, added to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelRMSNorm(channels, axes=2)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, memory: ClipMemory) -> Tensor:
        return x + by_frame(self._attended, x)

    def _attended(self, frames: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(frames)).flatten(2).mT.contiguous()[:, None].chunk(3, dim=-1)  # (B * T, 1, HW, C)
        return self.out(F.scaled_dot_product_attention(q, k, v)[:, 0].mT.unflatten(2, frames.shape[2:]))


class Down(nn.Module):
    """Half the height and width; and, where it halves time, every second frame, the first by itself."""

    def __init__(self, channels: int, *, halves_time: bool) -> None:
        super().__init__()
        self.space = nn.Conv2d(channels, channels, 3, stride=2)
        self.time = nn.Conv3d(channels, channels, (3, 1, 1), stride=(2, 1, 1)) if halves_time else None

    def forward(self, x: Tensor, memory: ClipMemory) -> Tensor:
        x = by_frame(self.space, F.pad(x, (0, 1, 0, 1)))
        if self.time is None:
            return x
        if memory.has_begun(self):
            return self.time(memory.before(self, x, 1))
        first, clip = x[:, :, :1], memory.before(self, x, 1)[:, :, 1:]
        return first if clip.shape[2] == 1 else torch.cat([first, self.time(clip)], dim=2)


class Up(nn.Module):
    """Twice the height and width and half the channels; before, where it doubles time, two frames of each but for the
    first, which none of them sees."""

    def __init__(self, channels: int, *, doubles_time: bool) -> None:
        super().__init__()
        self.space = nn.Conv2d(channels, channels // 2, 3, padding=1)
        self.time = CausalConv3d(channels, 2 * channels, (3, 1, 1)) if doubles_time else None

    def forward(self, x: Tensor, memory: ClipMemory) -> Tensor:
        if self.time is not None:
            first = int(memory.begins(self))
            later = x[:, :, first:]
            if later.shape[2]:
                pairs = self.time(later, memory).unflatten(1, (2, -1))  # (B, 2, C, T, H, W)
                x = torch.cat([x[:, :, :first], pairs.permute(0, 2, 3, 1, 4, 5).flatten(2, 3)], dim=2)
        return by_frame(self.space, by_frame(partial(F.interpolate, scale_factor=2, mode="nearest-exact"), x))


class Encoder(nn.Module):
    """Pixels to mean and logarithm of the variance of the latent."""

    def __init__(self, config: WanAutoencoderConfig) -> None:
        super().__init__()
        widths = (config.channels[0], *config.channels)
        self.conv_in = CausalConv3d(config.in_channels, widths[0], (3, 3, 3))
        self.blocks = nn.ModuleList()
        for stage, width in enumerate(config.channels):
            self.blocks.extend(ResBlock(widths[stage] if not i else width, width) for i in range(config.num_blocks))
            if stage < len(config.halves_time):
                self.blocks.append(Down(width, halves_time=config.halves_time[stage]))
        self.middle = _middle(widths[-1])
        self.norm_out = ChannelRMSNorm(widths[-1], axes=3)
        self.conv_out = CausalConv3d(widths[-1], 2 * config.latent_channels, (3, 3, 3))

    def forward(self, x: Tensor, memory: ClipMemory) -> Tensor:
        x = self.conv_in(x, memory)
        for block in (*self.blocks, *self.middle):
            x = block(x, memory)
        return self.conv_out(F.silu(self.norm_out(x)), memory)


class UpStage(nn.Module):
    """Blocks of one size, and the step to the next."""

    def __init__(self, channels: int, out: int, *, num_blocks: int, up: Up | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ResBlock(out if i else channels, out) for i in range(num_blocks))
        self.up = up

    def forward(self, x: Tensor, memory: ClipMemory) -> Tensor:
        for block in self.blocks:
            x = block(x, memory)
        return x if self.up is None else self.up(x, memory)


class Decoder(nn.Module):
    """The latent to pixels."""

    def __init__(self, config: WanAutoencoderConfig) -> None:
        super().__init__()
        widths, doubles = config.channels[::-1], config.halves_time[::-1]
        self.conv_in = CausalConv3d(config.latent_channels, widths[0], (3, 3, 3))
        self.middle = _middle(widths[0])
        self.stages = nn.ModuleList()
        for stage, width in enumerate(widths):
            up = Up(width, doubles_time=doubles[stage]) if stage < len(doubles) else None
            given = widths[stage - 1] // 2 if stage else width
            self.stages.append(UpStage(given, width, num_blocks=config.num_blocks + 1, up=up))
        self.norm_out = ChannelRMSNorm(widths[-1], axes=3)
        self.conv_out = CausalConv3d(widths[-1], config.in_channels, (3, 3, 3))

    def forward(self, x: Tensor, memory: ClipMemory) -> Tensor:
        x = self.conv_in(x, memory)
        for block in (*self.middle, *self.stages):
            x = block(x, memory)
        return self.conv_out(F.silu(self.norm_out(x)), memory)


class WanAutoencoder(ClipAutoencoder):
    """The autoencoder; latents outside of it are scaled to unit variance, and nothing is sampled."""

    unit_kinds = (ResBlock, FrameAttention)
    apart_names = ("encoder", "decoder", "latent_out", "latent_in")
    outside_forward: ClassVar = ("encode_chunk", "decode_chunk")
    config: WanAutoencoderConfig

    def __init__(self, config: WanAutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.latent_channels
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.latent_out = CausalConv3d(2 * channels, 2 * channels, (1, 1, 1))
        self.latent_in = CausalConv3d(channels, channels, (1, 1, 1))

    def moments(self, pixels: Tensor, memory: ClipMemory) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance of a chunk's latent, not scaled, for training."""
        mean, log_variance = self.latent_out(self.encoder(pixels, memory), memory).chunk(2, dim=1)
        return mean, log_variance

    def encode_chunk(self, pixels: Tensor, memory: ClipMemory) -> Tensor:
        mean, std = self._scale(pixels)
        return (self.moments(pixels, memory)[0] - mean) / std

    def decode_chunk(self, latent: Tensor, memory: ClipMemory) -> Tensor:
        mean, std = self._scale(latent)
        return self.decoder(self.latent_in(latent * std + mean, memory), memory).clamp(-1, 1)

    def _scale(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = (x.new_tensor(values)[:, None, None, None] for values in (self.config.mean, self.config.std))
        return mean, std


def _middle(channels: int) -> nn.ModuleList:
    return nn.ModuleList([ResBlock(channels, channels), FrameAttention(channels), ResBlock(channels, channels)])
