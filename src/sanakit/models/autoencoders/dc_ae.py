"""DC-AE, the deep compression autoencoder (arXiv:2410.10733): every public variant is a config of this file.

Pixels ``(B, 3, H, W)`` in [-1, 1] to a latent ``(B, C, H/f, W/f)`` and back. Deterministic: nothing is sampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from sanakit.common.errors import ConfigError, ShapeError
from sanakit.layers.linear_attention import MultiscaleLinearAttention
from sanakit.layers.mix_ffn import MixFFN
from sanakit.layers.norms import PixelRMSNorm
from sanakit.layers.resample import DownOp, Downsample, UpOp, Upsample, average_groups, repeat_groups

Activation = Literal["silu", "relu"]
NormKind = Literal["rms", "batch"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One resolution of the encoder or decoder.

    ``num_blocks == 0`` in the first stage means that the stem (or head) itself changes the resolution.
    """

    channels: int
    num_blocks: int
    block: Literal["res", "vit"] = "res"
    scales: tuple[int, ...] = ()  # depth-wise kernels of the attention, "vit" only
    norm: NormKind = "rms"
    activation: Activation = "silu"

    def __post_init__(self) -> None:
        if self.num_blocks < 0 or self.channels < 1:
            raise ConfigError(f"a stage of {self.num_blocks} blocks with {self.channels} channels cannot be built")
        if any(scale % 2 == 0 for scale in self.scales):
            raise ConfigError(f"scales={self.scales} of an attention must be odd, so that a window has a centre")


@dataclass(frozen=True, kw_only=True, slots=True)
class DCAutoencoderConfig:
    """Stages are listed from the full resolution to the smallest, for the decoder too."""

    encoder: tuple[Stage, ...]
    decoder: tuple[Stage, ...]
    latent_channels: int = 32
    in_channels: int = 3
    head_dim: int = 32
    down: DownOp = "conv"
    up: UpOp = "interpolate"
    encoder_shortcut: bool = True  # mean over channel groups beside the last convolution of the encoder
    decoder_shortcut: bool = True  # repeated channels beside the first convolution of the decoder
    head_activation: Activation = "relu"
    scaling_factor: float = 1.0  # 1 / rms of the raw latents

    def __post_init__(self) -> None:
        if len(self.encoder) != len(self.decoder) or not self.encoder:
            raise ConfigError(f"{len(self.encoder)} encoder stages and {len(self.decoder)} decoder stages do not match")
        for name in ("latent_channels", "in_channels", "head_dim"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)} must be at least 1")
        for stage in (*self.encoder, *self.decoder):
            if stage.block == "vit" and stage.channels % self.head_dim:
                raise ConfigError(f"{stage.channels} channels do not split into heads of {self.head_dim}")
        if not self.scaling_factor > 0:
            raise ConfigError(f"scaling_factor={self.scaling_factor} must be positive: it is 1 / rms of the latents")
        self._check_widths(self.encoder, "encoder", self.encoder_shortcut, packed=self.down == "pixel_unshuffle")
        self._check_widths(self.decoder, "decoder", self.decoder_shortcut, packed=False)

    def _check_widths(self, stages: tuple[Stage, ...], side: str, shortcut: bool, *, packed: bool) -> None:
        """The shortcuts average or repeat whole groups of channels."""
        if any(not stage.num_blocks for stage in stages[1:]) or (len(stages) == 1 and not stages[0].num_blocks):
            raise ConfigError(f"the {side} has a stage without blocks; only the first of several may be empty")
        if shortcut and stages[-1].channels % self.latent_channels:
            raise ConfigError(
                f"the {side}'s {stages[-1].channels} deepest channels do not split into latent_channels="
                f"{self.latent_channels} groups"
            )
        for stage, deeper in pairwise(stages):
            if (stage.num_blocks and (4 * stage.channels) % deeper.channels) or (packed and deeper.channels % 4):
                raise ConfigError(
                    f"the {side} cannot go between {stage.channels} and {deeper.channels} channels: four pixels of the "
                    f"one must make whole groups of the other"
                )

    @property
    def compression(self) -> int:
        """Pixels of one side per latent position."""
        return 2 ** (len(self.encoder) - 1)


class ResBlock(nn.Module):
    """Two 3x3 convolutions with the norm at their end, and the input added."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(stage.channels, stage.channels, 3, padding=1)
        self.conv2 = nn.Conv2d(stage.channels, stage.channels, 3, padding=1, bias=False)
        self.norm = _norm(stage)
        self.activation = _activation(stage.activation)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm(self.conv2(self.activation(self.conv1(x))))


class PixelMixFFN(MixFFN):
    """Mix-FFN on a picture ``(B, C, H, W)``, followed by a norm."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 4 * channels)
        self.norm = PixelRMSNorm(channels)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        height, width = x.shape[-2:]
        tokens = super().forward(x.permute(0, 2, 3, 1).flatten(1, 2), height=height, width=width)
        return self.norm(tokens.unflatten(1, (height, width)).permute(0, 3, 1, 2))


class EfficientViTBlock(nn.Module):
    """Linear attention for context, Mix-FFN for detail, each added to its input."""

    def __init__(self, stage: Stage, head_dim: int) -> None:
        super().__init__()
        self.attention = MultiscaleLinearAttention(
            stage.channels, head_dim=head_dim, scales=stage.scales, norm=_norm(stage)
        )
        self.mix_ffn = PixelMixFFN(stage.channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)
        return x + self.mix_ffn(x)


class Encoder(nn.Module):
    """Pixels to the raw latent; the downsampling is the last module of a stage."""

    def __init__(self, config: DCAutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        first = config.encoder[0]
        if first.num_blocks:
            self.conv_in: nn.Module = nn.Conv2d(config.in_channels, first.channels, 3, padding=1)
        else:
            self.conv_in = Downsample(config.in_channels, config.encoder[1].channels, op=config.down, shortcut=False)
        self.stages = nn.ModuleList()
        for stage, deeper in zip(config.encoder, (*config.encoder[1:], None), strict=True):
            blocks = _blocks(stage, config.head_dim)
            if deeper is not None and stage.num_blocks:
                blocks.append(Downsample(stage.channels, deeper.channels, op=config.down))
            self.stages.append(nn.Sequential(*blocks))
        self.conv_out = nn.Conv2d(config.encoder[-1].channels, config.latent_channels, 3, padding=1)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.conv_in(pixels)
        for stage in self.stages:
            x = stage(x)  # (B, channels, H / 2**stage, W / 2**stage)
        latent = self.conv_out(x)
        if self.config.encoder_shortcut:
            latent = latent + average_groups(x, self.config.latent_channels)
        return latent


class Decoder(nn.Module):
    """The raw latent to pixels; the upsampling is the first module of a stage."""

    def __init__(self, config: DCAutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        first, deepest = config.decoder[0], config.decoder[-1]
        self.conv_in = nn.Conv2d(config.latent_channels, deepest.channels, 3, padding=1)
        self.stages = nn.ModuleList()
        for stage, deeper in zip(config.decoder, (*config.decoder[1:], None), strict=True):
            blocks = _blocks(stage, config.head_dim)
            if deeper is not None and stage.num_blocks:
                blocks.insert(0, Upsample(deeper.channels, stage.channels, op=config.up))
            self.stages.append(nn.Sequential(*blocks))
        channels = first.channels if first.num_blocks else config.decoder[1].channels
        self.norm_out = PixelRMSNorm(channels)
        self.activation = _activation(config.head_activation)
        if first.num_blocks:
            self.conv_out: nn.Module = nn.Conv2d(channels, config.in_channels, 3, padding=1)
        else:
            self.conv_out = Upsample(channels, config.in_channels, op=config.up, shortcut=False)

    def forward(self, latent: Tensor) -> Tensor:
        x = self.conv_in(latent)
        if self.config.decoder_shortcut:
            x = x + repeat_groups(latent, x.shape[1])
        for stage in reversed(self.stages):
            x = stage(x)
        return self.conv_out(self.activation(self.norm_out(x)))


class DCAutoencoder(nn.Module):
    """The autoencoder; latents outside of it are always scaled to unit variance."""

    def __init__(self, config: DCAutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    def encode(self, pixels: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in [-1, 1] to the scaled latent ``(B, C, H/f, W/f)``; ``ShapeError`` for other sides."""
        channels, multiple = self.config.in_channels, self.config.compression
        if pixels.ndim != 4 or pixels.shape[1] != channels or pixels.shape[2] % multiple or pixels.shape[3] % multiple:
            raise ShapeError(
                f"pixels {tuple(pixels.shape)} do not fit this autoencoder, which reads (B, {channels}, H, W) with "
                f"both sides multiples of {multiple}"
            )
        return self.encoder(pixels) * self.config.scaling_factor

    def decode(self, latent: Tensor) -> Tensor:
        """The scaled latent ``(B, C, h, w)`` to pixels ``(B, 3, f*h, f*w)``, about [-1, 1], not clamped."""
        if latent.ndim != 4 or latent.shape[1] != self.config.latent_channels:
            raise ShapeError(
                f"a latent {tuple(latent.shape)} does not fit this autoencoder, which reads "
                f"(B, {self.config.latent_channels}, h, w)"
            )
        return self.decoder(latent / self.config.scaling_factor)


def _blocks(stage: Stage, head_dim: int) -> list[nn.Module]:
    if stage.block == "res":
        return [ResBlock(stage) for _ in range(stage.num_blocks)]
    return [EfficientViTBlock(stage, head_dim) for _ in range(stage.num_blocks)]


def _norm(stage: Stage) -> nn.Module:
    return PixelRMSNorm(stage.channels) if stage.norm == "rms" else nn.BatchNorm2d(stage.channels)


def _activation(name: Activation) -> nn.Module:
    return nn.SiLU() if name == "silu" else nn.ReLU()


def stages(
    channels: Sequence[int],
    depths: Sequence[int],
    *,
    num_res: int = 3,
    scales: tuple[int, ...] = (5,),
    shallow_norm: NormKind = "rms",
    shallow_activation: Activation = "silu",
) -> tuple[Stage, ...]:
    """The usual list of stages: ``num_res`` of residual blocks, EfficientViT blocks below."""
    return tuple(
        Stage(channels=c, num_blocks=d, norm=shallow_norm, activation=shallow_activation)
        if i < num_res
        else Stage(channels=c, num_blocks=d, block="vit", scales=scales)
        for i, (c, d) in enumerate(zip(channels, depths, strict=True))
    )
