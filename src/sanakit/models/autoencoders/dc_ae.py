"""DC-AE, the deep compression autoencoder (arXiv:2410.10733): every public variant is a config of this file.

Pixels ``(B, 3, H, W)`` in [-1, 1] to a latent ``(B, C, H/f, W/f)`` and back. Deterministic: nothing is sampled.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from sanakit.common.errors import ShapeError
from sanakit.common.free_memory import give_back_freed_memory
from sanakit.kernels.native.memory import reused_memory
from sanakit.layers.conv3x3 import Conv3x3
from sanakit.layers.linear_attention import MultiscaleLinearAttention
from sanakit.layers.mix_ffn import MixFFN
from sanakit.layers.norms import PixelRMSNorm
from sanakit.layers.resample import Downsample, Upsample, average_groups, repeat_groups
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig, DCAutoencoderStage
from sanakit.models.network import Network

_LARGE = 2**21  # values from which on a stage leaves much memory with the C library


class ResBlock(nn.Module):
    """Two 3x3 convolutions with the norm at their end, and the input added.

    Where the weights are frozen the result may take the memory of x, which in these networks nobody needs any more.
    """

    def __init__(self, stage: DCAutoencoderStage) -> None:
        super().__init__()
        self.conv1 = Conv3x3(stage.channels, stage.channels)
        self.conv2 = Conv3x3(stage.channels, stage.channels, bias=False)
        self.norm = _norm(stage)
        self.activation = stage.activation

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.conv1(x, activation=self.activation)
        return self.conv2(hidden, norm=self.norm, residual=x, in_place=True)


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

    def __init__(self, stage: DCAutoencoderStage, head_dim: int) -> None:
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
            self.conv_in: nn.Module = Conv3x3(config.in_channels, first.channels)
        else:
            self.conv_in = Downsample(config.in_channels, config.encoder[1].channels, op=config.down, shortcut=False)
        self.stages = nn.ModuleList()
        for stage, deeper in zip(config.encoder, (*config.encoder[1:], None), strict=True):
            blocks = _blocks(stage, config.head_dim)
            if deeper is not None and stage.num_blocks:
                blocks.append(Downsample(stage.channels, deeper.channels, op=config.down))
            self.stages.append(nn.Sequential(*blocks))
        self.conv_out = Conv3x3(config.encoder[-1].channels, config.latent_channels)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.conv_in(pixels)
        for stage in self.stages:
            for block in _modules(stage):  # one by one, so that no input of a whole stage stays in memory
                x = block(x)  # (B, channels, H / 2**stage, W / 2**stage)
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
        self.conv_in = Conv3x3(config.latent_channels, deepest.channels)
        self.stages = nn.ModuleList()
        for stage, deeper in zip(config.decoder, (*config.decoder[1:], None), strict=True):
            blocks = _blocks(stage, config.head_dim)
            if deeper is not None and stage.num_blocks:
                blocks.insert(0, Upsample(deeper.channels, stage.channels, op=config.up))
            self.stages.append(nn.Sequential(*blocks))
        channels = first.channels if first.num_blocks else config.decoder[1].channels
        self.norm_out = PixelRMSNorm(channels)
        if first.num_blocks:
            self.conv_out: nn.Module = Conv3x3(channels, config.in_channels)
        else:
            self.conv_out = Upsample(channels, config.in_channels, op=config.up, shortcut=False)

    def forward(self, latent: Tensor) -> Tensor:
        x = self.begin(latent)
        for module in self.modules_in_order():
            if isinstance(module, Upsample) and x.numel() >= _LARGE:
                give_back_freed_memory()  # of the stage before, which the next ones would stand beside
            x = module(x)
        return self.end(x)

    def begin(self, latent: Tensor) -> Tensor:
        """The latent to the deepest stage."""
        x = self.conv_in(latent)
        return x + repeat_groups(latent, x.shape[1]) if self.config.decoder_shortcut else x

    def modules_in_order(self) -> Iterator[nn.Module]:
        """Blocks and the upsamplings between them."""
        for stage in reversed(self.stages):
            yield from _modules(stage)

    def end(self, x: Tensor) -> Tensor:
        """The first stage to pixels."""
        return self.conv_out(self.norm_out(x, activation=self.config.head_activation))


class DCAutoencoder(Network):
    """The autoencoder; latents outside of it are always scaled to unit variance."""

    unit_kinds = (ResBlock, EfficientViTBlock)
    apart_names = ("encoder", "decoder")

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
        with reused_memory():
            return self.encoder(pixels) * self.config.scaling_factor

    def decode(self, latent: Tensor) -> Tensor:
        """The scaled latent ``(B, C, h, w)`` to pixels ``(B, 3, f*h, f*w)``, about [-1, 1], not clamped."""
        if latent.ndim != 4 or latent.shape[1] != self.config.latent_channels:
            raise ShapeError(
                f"a latent {tuple(latent.shape)} does not fit this autoencoder, which reads "
                f"(B, {self.config.latent_channels}, h, w)"
            )
        with reused_memory():
            return self.decoder(latent / self.config.scaling_factor)


def _blocks(stage: DCAutoencoderStage, head_dim: int) -> list[nn.Module]:
    if stage.block == "res":
        return [ResBlock(stage) for _ in range(stage.num_blocks)]
    return [EfficientViTBlock(stage, head_dim) for _ in range(stage.num_blocks)]


def _modules(stage: nn.Module) -> tuple[nn.Module, ...]:
    return tuple(stage) if isinstance(stage, nn.Sequential) else (stage,)


def _norm(stage: DCAutoencoderStage) -> nn.Module:
    return PixelRMSNorm(stage.channels) if stage.norm == "rms" else nn.BatchNorm2d(stage.channels)
