"""LTX-2's autoencoder of clips (Lightricks): 8 frames and 32 x 32 pixels to one position of 128 channels.

Its encoder is causal; a decoder may be. Where it is not, each of its layers sees one frame more and waits for that, so
that the frames of a long clip come late, but are those of the whole clip at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sanakit.common.errors import ConfigError
from sanakit.kernels.pixel_norm import rms_normalised
from sanakit.layers.causal import ClipMemory
from sanakit.layers.cells import from_cells, to_cells
from sanakit.models.autoencoders.clips import ClipAutoencoder

Step = Literal["spatial", "temporal", "spatiotemporal"]
Padding = Literal["zeros", "reflect", "replicate"]
_STRIDES: dict[Step, tuple[int, int, int]] = {"spatial": (1, 2, 2), "temporal": (2, 1, 1), "spatiotemporal": (2, 2, 2)}
_EPS = 1e-8
Layer = Callable[[Tensor, ClipMemory], Tensor]
"""Of a chunk: ``(B, C, T, H, W)``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LTX2AutoencoderConfig:
    """The published one by default; its mean and deviation are among its weights."""

    channels: tuple[int, ...] = (256, 512, 1024, 2048)  # behind each step of the encoder; before, the latent's
    num_blocks: tuple[int, ...] = (4, 6, 6, 2, 2)  # before each step, and behind the last
    steps: tuple[Step, ...] = ("spatial", "temporal", "spatiotemporal", "spatiotemporal")
    decoder_channels: tuple[int, ...] = (256, 512, 1024)  # before each step of the decoder, the last first
    decoder_num_blocks: tuple[int, ...] = (5, 5, 5, 5)  # behind each step, the last first, and before the first
    latent_channels: int = 128
    in_channels: int = 3
    patch_size: int = 4  # pixels of a side that are channels
    decoder_causal: bool = True
    padding: Padding = "zeros"  # around a frame, in the encoder
    decoder_padding: Padding = "reflect"

    def __post_init__(self) -> None:
        if not len(self.channels) == len(self.steps) == len(self.num_blocks) - 1 > 0:
            raise ConfigError(f"channels={self.channels}, steps={self.steps} and num_blocks do not fit together")
        if not 0 < len(self.decoder_channels) == len(self.decoder_num_blocks) - 1:
            raise ConfigError(f"decoder_channels={self.decoder_channels} and decoder_num_blocks do not fit together")
        least = min(*self.channels, *self.decoder_channels, self.latent_channels, self.in_channels, self.patch_size)
        if least < 1 or min(*self.num_blocks, *self.decoder_num_blocks) < 0:
            raise ConfigError(f"an autoencoder needs channels of at least 1, not {self}")
        given = self.latent_channels
        for width, step in zip(self.channels, self.steps, strict=True):
            factor = math.prod(_STRIDES[step])
            if width % factor or given * factor % width:
                raise ConfigError(f"channels={self.channels} do not divide by the {factor} pixels of a {step} step")
            given = width
        if any(width % 8 for width in self.decoder_channels):
            raise ConfigError(f"decoder_channels={self.decoder_channels} do not divide by the 8 pixels of a step")
        if tuple(width * 2 for width in self.decoder_channels[:-1]) != self.decoder_channels[1:]:
            raise ConfigError(f"decoder_channels={self.decoder_channels} must double")
        if self.reach(1) != 2 ** len(self.decoder_channels) * self.patch_size or self.reach(0) != 2 ** len(
            self.decoder_channels
        ):
            raise ConfigError(f"steps={self.steps} and {len(self.decoder_channels)} of the decoder do not fit together")

    def reach(self, axis: int) -> int:
        """Frames (0) or pixels of a side (1) in one of the latent."""
        return math.prod(_STRIDES[step][axis] for step in self.steps) * (self.patch_size if axis else 1)

    @property
    def compression(self) -> int:
        return self.reach(1)

    @property
    def temporal_compression(self) -> int:
        return self.reach(0)


class Conv(nn.Conv3d):
    """3 x 3 x 3; beyond a clip stand copies of its first frame, and of its last where later frames are seen: then the
    last frame of a chunk waits."""

    def __init__(self, channels: int, out: int, *, causal: bool, padding: Padding) -> None:
        super().__init__(channels, out, 3, padding=(0, 1, 1), padding_mode=padding)
        self.causal = causal

    def forward(self, x: Tensor, memory: ClipMemory) -> Tensor:  # type: ignore[override]
        if self.causal:
            return super().forward(memory.before(self, x, 2, copies=True))
        whole = memory.around(self, x)
        if whole.shape[2] < 3:
            return x.new_empty(len(x), self.out_channels, 0, *x.shape[3:])
        return super().forward(whole)


class ResBlock(nn.Module):
    """Norm without weights, SiLU, convolution, twice; and the input added."""

    def __init__(self, channels: int, *, causal: bool, padding: Padding) -> None:
        super().__init__()
        self.conv1 = Conv(channels, channels, causal=causal, padding=padding)
        self.conv2 = Conv(channels, channels, causal=causal, padding=padding)

    def forward(self, x: Tensor, memory: ClipMemory) -> Tensor:
        y = self.conv2(_activated(self.conv1(_activated(x), memory)), memory)
        return memory.in_step(self, x, y.shape[2]) + y


class Down(nn.Module):
    """Pixels of a cell become channels, of a convolution and of the input, whose channels are averaged."""

    def __init__(self, channels: int, out: int, step: Step, padding: Padding) -> None:
        super().__init__()
        self.stride, self.out = _STRIDES[step], out
        self.conv = Conv(channels, out // math.prod(self.stride), causal=True, padding=padding)

    def forward(self, x: Tensor, memory: ClipMemory) -> Tensor:
        if memory.begins(self):
            x = torch.cat([x[:, :, : self.stride[0] - 1], x], dim=2)  # so that the first frame fills a cell
        shortcut = to_cells(x, self.stride).unflatten(1, (self.out, -1)).mean(dim=2)
        return to_cells(self.conv(x, memory), self.stride) + shortcut


class Up(nn.Module):
    """The reverse: channels become pixels of cells of 2, half as many of them, and the frame before the first goes."""

    def __init__(self, channels: int, *, causal: bool, padding: Padding) -> None:
        super().__init__()
        self.conv = Conv(channels, 4 * channels, causal=causal, padding=padding)

    def forward(self, x: Tensor, memory: ClipMemory) -> Tensor:
        y = self.conv(x, memory)
        shortcut = from_cells(memory.in_step(self, x, y.shape[2]), _STRIDES["spatiotemporal"]).repeat(1, 4, 1, 1, 1)
        y = from_cells(y, _STRIDES["spatiotemporal"]) + shortcut
        return y[:, :, 1:] if y.shape[2] and memory.begins(self) else y


class Encoder(nn.Module):
    """Pixels to the mean of the latent, and one logarithm of its variance."""

    def __init__(self, config: LTX2AutoencoderConfig) -> None:
        super().__init__()
        self.patch_size, padding = config.patch_size, config.padding
        widths = (config.latent_channels, *config.channels)
        self.conv_in = Conv(config.in_channels * self.patch_size**2, widths[0], causal=True, padding=padding)
        self.stages = nn.ModuleList()
        for stage, step in enumerate(config.steps):
            down = Down(widths[stage], widths[stage + 1], step, padding)
            blocks = [ResBlock(widths[stage], causal=True, padding=padding) for _ in range(config.num_blocks[stage])]
            self.stages.append(nn.ModuleDict({"blocks": nn.ModuleList(blocks), "down": down}))
        self.middle = nn.ModuleList(
            ResBlock(widths[-1], causal=True, padding=padding) for _ in range(config.num_blocks[-1])
        )
        self.conv_out = Conv(widths[-1], config.latent_channels + 1, causal=True, padding=padding)

    def forward(self, pixels: Tensor, memory: ClipMemory) -> Tensor:
        patch = self.patch_size
        x = pixels.unflatten(4, (-1, patch)).unflatten(3, (-1, patch))  # (B, 3, T, H, p, W, p)
        x = x.permute(0, 1, 6, 4, 2, 3, 5).flatten(1, 3)  # columns of a patch before its rows
        x = self.conv_in(x, memory)
        for block in _in_order(self.stages, ("blocks", "down")):
            x = block(x, memory)
        for block in self.middle:
            x = block(x, memory)
        return self.conv_out(_activated(x), memory)


class Decoder(nn.Module):
    """The latent to pixels."""

    def __init__(self, config: LTX2AutoencoderConfig) -> None:
        super().__init__()
        self.patch_size = config.patch_size
        how = {"causal": config.decoder_causal, "padding": config.decoder_padding}
        widths, numbers = config.decoder_channels[::-1], config.decoder_num_blocks[::-1]
        self.conv_in = Conv(config.latent_channels, widths[0], **how)  # type: ignore[arg-type]
        self.middle = nn.ModuleList(ResBlock(widths[0], **how) for _ in range(numbers[0]))  # type: ignore[arg-type]
        self.stages = nn.ModuleList()
        for width, number in zip(widths, numbers[1:], strict=True):
            blocks = [ResBlock(width // 2, **how) for _ in range(number)]  # type: ignore[arg-type]
            up = Up(width, **how)  # type: ignore[arg-type]
            self.stages.append(nn.ModuleDict({"up": up, "blocks": nn.ModuleList(blocks)}))
        self.conv_out = Conv(widths[-1] // 2, config.in_channels * self.patch_size**2, **how)  # type: ignore[arg-type]

    def forward(self, latent: Tensor, memory: ClipMemory) -> Iterator[Tensor]:
        """The frames that are known with a chunk, piece by piece."""
        layers = (self.conv_in, *self.middle, *_in_order(self.stages, ("up", "blocks")), self._to_pixels)
        return _in_pieces(layers, latent, memory, latent.shape[2])

    def _to_pixels(self, x: Tensor, memory: ClipMemory) -> Tensor:
        x = self.conv_out(_activated(x), memory).unflatten(1, (-1, self.patch_size, self.patch_size))
        return x.permute(0, 1, 4, 5, 3, 6, 2).flatten(5, 6).flatten(3, 4)  # (B, 3, T, H, W)


class LTX2Autoencoder(ClipAutoencoder):
    """The autoencoder; latents outside of it are scaled to unit variance, and nothing is sampled."""

    unit_kinds = (ResBlock,)
    apart_names = ("encoder", "decoder")
    outside_forward: ClassVar = ("encode_chunk",)
    config: LTX2AutoencoderConfig
    mean: Tensor
    std: Tensor

    def __init__(self, config: LTX2AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.register_buffer("mean", torch.zeros(config.latent_channels))
        self.register_buffer("std", torch.ones(config.latent_channels))

    def encode_chunk(self, pixels: Tensor, memory: ClipMemory) -> Tensor:
        mean = self.encoder(pixels, memory)[:, :-1]
        return (mean - self.mean[:, None, None, None]) / self.std[:, None, None, None]

    def decode_pieces(self, latent: Tensor, memory: ClipMemory) -> Iterator[Tensor]:
        raw = latent * self.std[:, None, None, None] + self.mean[:, None, None, None]
        return (pixels.clamp(-1, 1) for pixels in self.decoder(raw, memory))


def _in_pieces(layers: Sequence[Layer], x: Tensor, memory: ClipMemory, most: int) -> Iterator[Tensor]:
    """``x`` ``(B, C, T, H, W)`` through ``layers``, at most ``most`` frames at a time (twice as many behind each step):
    where a clip ends, all that waits in a layer comes at once, and would be the whole clip for the last layers."""
    ends = memory.ends
    for index, layer in enumerate(layers, 1):
        x = layer(x, memory)
        most *= 2 if isinstance(layer, Up) else 1
        pieces = x.split(most, dim=2)
        if len(pieces) > 1:
            for number, piece in enumerate(pieces, 1):
                memory.ends = ends and number == len(pieces)
                yield from _in_pieces(layers[index:], piece, memory, most)
            return
        if not x.shape[2]:
            return
    yield x


def _activated(x: Tensor) -> Tensor:
    return F.silu(rms_normalised(x, dim=1, eps=_EPS).to(x.dtype))


def _in_order(stages: nn.ModuleList, names: tuple[str, ...]) -> Iterator[nn.Module]:
    for stage in stages:
        assert isinstance(stage, nn.ModuleDict)
        for name in names:
            part = stage[name]
            yield from part if isinstance(part, nn.ModuleList) else (part,)
