"""DC-AE-V (arXiv:2509.25182): 4 frames and 32 x 32 pixels to one position, in chunks of a clip.

Within a chunk frames see others on both sides; of the chunk before, the first ones see what layers keep of it, and
nobody sees a later one. It has convolutions alone. Before the first frame stand copies of it, which fill its position.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sanakit.common.errors import ConfigError
from sanakit.layers.causal import ClipMemory, by_frame
from sanakit.layers.cells import Stride, from_cells, to_cells
from sanakit.layers.norms import PixelRMSNorm
from sanakit.models.autoencoders.clips import ClipAutoencoder

_SPACE: Stride = (1, 2, 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class DCAEVConfig:
    """The published F32T4C32 by default. Sides are halved before the first stage and behind each but the last two, of
    which the step between puts frames together."""

    channels: tuple[int, ...] = (128, 256, 512, 512, 1024, 1024, 1024)  # of stages; the first may be empty
    num_blocks: tuple[int, ...] = (0, 5, 10, 4, 4, 4, 4)
    latent_channels: int = 32
    in_channels: int = 3
    temporal_compression: int = 4
    chunk: int = 10  # frames of the latent that are coded together

    def __post_init__(self) -> None:
        if len(self.channels) != len(self.num_blocks) or len(self.channels) < 3:
            raise ConfigError(f"channels={self.channels} and num_blocks={self.num_blocks} must be of 3 or more stages")
        if min(*self.channels, self.latent_channels, self.in_channels, self.temporal_compression, self.chunk) < 1:
            raise ConfigError(f"an autoencoder needs channels, frames and chunks of at least 1, not {self}")
        if self.num_blocks[0] < 0 or min(self.num_blocks[1:]) < 1:
            raise ConfigError(f"num_blocks={self.num_blocks}: every stage but the first needs a block")
        if self.channels[self.first_stage] % 4:
            raise ConfigError(f"channels={self.channels} do not divide by the 4 pixels of the first step")
        for stage in self.stages[:-1]:
            cell, (own, other) = math.prod(self.step(stage)), self.channels[stage : stage + 2]
            if other % cell or own * cell % other:
                raise ConfigError(f"channels={self.channels} do not divide by the {cell} positions of a step")

    @property
    def first_stage(self) -> int:
        """That has blocks."""
        return 0 if self.num_blocks[0] else 1

    @property
    def stages(self) -> range:
        """Those that have blocks."""
        return range(self.first_stage, len(self.channels))

    def step(self, stage: int) -> Stride:
        """What is put together behind a stage that is not the last."""
        return _SPACE if stage < len(self.channels) - 2 else (self.temporal_compression, 1, 1)

    @property
    def compression(self) -> int:
        return 2 ** len(self.stages[:-1])


class ChunkConv(nn.Conv3d):
    """3 x 3 x 3 over a chunk: behind it stands nothing, before it the last frame of the chunk before."""

    def __init__(self, channels: int, out: int, *, bias: bool = True) -> None:
        super().__init__(channels, out, 3, padding=(0, 1, 1), bias=bias)

    def forward(self, x: Tensor, memory: ClipMemory) -> Tensor:  # type: ignore[override]
        """``(B, C, T, H, W)`` to as many frames of the same size."""
        return super().forward(F.pad(memory.before(self, x, 1), (0, 0, 0, 0, 0, 1)))


class ResBlock(nn.Module):
    """Convolution, SiLU, convolution, norm; and the input added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = ChunkConv(channels, channels), ChunkConv(channels, channels, bias=False)
        self.norm = PixelRMSNorm(channels)

    def forward(self, x: Tensor, memory: ClipMemory) -> Tensor:
        return x + by_frame(self.norm, self.conv2(F.silu(self.conv1(x, memory)), memory))


class Down(nn.Module):
    """Pixels of a cell become channels, of a convolution and of the input, whose channels are averaged."""

    def __init__(self, channels: int, out: int, stride: Stride, *, shortcut: bool = True) -> None:
        super().__init__()
        self.stride, self.out, self.shortcut = stride, out, shortcut
        self.conv = ChunkConv(channels, out // math.prod(stride))

    def forward(self, x: Tensor, memory: ClipMemory) -> Tensor:
        y = to_cells(self.conv(x, memory), self.stride)
        return y + to_cells(x, self.stride).unflatten(1, (self.out, -1)).mean(dim=2) if self.shortcut else y


class Up(nn.Module):
    """The reverse: channels become pixels of cells, those of the input repeated."""

    def __init__(self, channels: int, out: int, stride: Stride, *, shortcut: bool = True) -> None:
        super().__init__()
        self.stride, self.shortcut = stride, shortcut
        self.conv = ChunkConv(channels, out * math.prod(stride))
        self.repeats = out * math.prod(stride) // channels

    def forward(self, x: Tensor, memory: ClipMemory) -> Tensor:
        y = from_cells(self.conv(x, memory), self.stride)
        return y + from_cells(x.repeat_interleave(self.repeats, dim=1), self.stride) if self.shortcut else y


class Encoder(nn.Module):
    """A chunk of pixels to its latent."""

    def __init__(self, config: DCAEVConfig) -> None:
        super().__init__()
        widths = config.channels
        self.conv_in = Down(config.in_channels, widths[config.first_stage], _SPACE, shortcut=False)
        self.stages = nn.ModuleList(nn.ModuleList() for _ in widths)
        for stage in config.stages:
            parts: list[nn.Module] = [ResBlock(widths[stage]) for _ in range(config.num_blocks[stage])]
            if stage < len(widths) - 1:
                parts.append(Down(widths[stage], widths[stage + 1], config.step(stage)))
            self.stages[stage] = nn.ModuleList(parts)
        self.conv_out = ChunkConv(widths[-1], config.latent_channels)

    def forward(self, pixels: Tensor, memory: ClipMemory) -> Tensor:
        x = self.conv_in(pixels, memory)
        for part in _in_order(self.stages):
            x = part(x, memory)
        return self.conv_out(x, memory)


class Decoder(nn.Module):
    """A chunk of the latent to pixels."""

    def __init__(self, config: DCAEVConfig) -> None:
        super().__init__()
        widths = config.channels
        self.conv_in = ChunkConv(config.latent_channels, widths[-1])
        self.stages = nn.ModuleList(nn.ModuleList() for _ in widths)
        for stage in config.stages:
            up = [Up(widths[stage + 1], widths[stage], config.step(stage))] if stage < len(widths) - 1 else []
            blocks = [ResBlock(widths[stage]) for _ in range(config.num_blocks[stage])]
            self.stages[stage] = nn.ModuleList([*up, *blocks])
        first = widths[config.first_stage]
        self.norm_out = PixelRMSNorm(first)
        self.conv_out = Up(first, config.in_channels, _SPACE, shortcut=False)

    def forward(self, latent: Tensor, memory: ClipMemory) -> Tensor:
        x = self.conv_in(latent, memory)
        for part in _in_order(reversed(self.stages)):
            x = part(x, memory)
        return self.conv_out(F.silu(by_frame(self.norm_out, x)), memory)


class DCAEV(ClipAutoencoder):
    """The autoencoder; its latents are as the encoder gives them."""

    unit_kinds = (ResBlock,)
    apart_names = ("encoder", "decoder")
    outside_forward: ClassVar = ("encode_chunk", "decode_chunk")
    config: DCAEVConfig

    def __init__(self, config: DCAEVConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder = Encoder(config), Decoder(config)

    def encode_chunk(self, pixels: Tensor, memory: ClipMemory) -> Tensor:
        if memory.begins(self):
            copies = pixels[:, :, :1].expand(-1, -1, self.config.temporal_compression - 1, -1, -1)
            pixels = torch.cat([copies, pixels], dim=2)
        return self.encoder(pixels, memory)

    def decode_chunk(self, latent: Tensor, memory: ClipMemory) -> Tensor:
        pixels = self.decoder(latent, memory).clamp(-1, 1)
        return pixels[:, :, self.config.temporal_compression - 1 :] if memory.begins(self) else pixels

    def encode(self, pixels: Tensor, *, at_once: int = 1) -> Tensor:
        """As of all, in chunks of the length that it was trained on."""
        return super().encode(pixels, at_once=self.config.chunk)

    def decode_stream(self, latent: Tensor, *, at_once: int = 1) -> Iterator[Tensor]:
        """As of all, in chunks of the length that it was trained on."""
        return super().decode_stream(latent, at_once=self.config.chunk)


def _in_order(stages: Iterable[nn.Module]) -> Iterator[nn.Module]:
    for stage in stages:
        assert isinstance(stage, nn.ModuleList)
        yield from stage
