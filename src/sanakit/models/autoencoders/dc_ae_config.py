"""What a DC-AE is made of: stages of channels and blocks; and the memory of decoding, which follows from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

from sanakit.common.errors import ConfigError
from sanakit.layers.resample import DownOp, UpOp

Activation = Literal["silu", "relu"]
NormKind = Literal["rms", "batch"]

# Float32 values alive at the peak of decoding, per channel of a stage and pixel of its resolution, with the copies
# that CPU convolutions make of their input. Measured as growth of the resident memory with torch 2.13: residual stages
# 5.3 to 5.9, EfficientViT stages 29, upsampling 2 of its input and 2.3 of its output channels. Half precision is no
# cheaper there: its norms and convolutions widen (10.8 to 11.4 half values).
_PER_RES_CHANNEL = 6.0
_PER_VIT_CHANNEL = 32.0
_PER_UPSAMPLED_CHANNEL = 2.25
_PER_UPSAMPLE_OUTPUT = 2.5


@dataclass(frozen=True, kw_only=True, slots=True)
class DCAutoencoderStage:
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

    in_bands: ClassVar[bool] = True  # it can decode a picture in bands of rows, to the bit

    encoder: tuple[DCAutoencoderStage, ...]
    decoder: tuple[DCAutoencoderStage, ...]
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

    def _check_widths(self, stages: tuple[DCAutoencoderStage, ...], side: str, shortcut: bool, *, packed: bool) -> None:
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

    @property
    def temporal_compression(self) -> int:
        """Frames in one of the latent, as of autoencoders of clips."""
        return 1

    def decode_bytes(self, height: int, width: int) -> int:
        """Upper estimate of the memory that decoding one ``height`` x ``width`` picture needs beside the weights."""
        per_pixel = 0.0
        for depth, stage in enumerate(self.decoder):
            per_channel = _PER_RES_CHANNEL if stage.block == "res" else _PER_VIT_CHANNEL
            values = per_channel * stage.channels if stage.num_blocks else 0.0
            per_pixel = max(per_pixel, values / 4**depth)
        for depth, (stage, deeper) in enumerate(pairwise(self.decoder)):
            channels = stage.channels if stage.num_blocks else self.in_channels  # without blocks: straight to pixels
            values = _PER_UPSAMPLED_CHANNEL * deeper.channels + _PER_UPSAMPLE_OUTPUT * channels
            per_pixel = max(per_pixel, values / 4**depth)
        return int(4 * per_pixel * height * width)

    @property
    def band_reach(self) -> int:
        """Rows around a band of the first attended stage, of the deepest where there is none, that its pixels see."""
        depth = self._kept_depth
        reach = 1 if self.decoder[0].num_blocks else 2  # of the head
        for stage in self.decoder[:depth] if self._is_attended else self.decoder:
            reach += 2 * stage.num_blocks
            if stage.num_blocks and stage is not self.decoder[-1]:
                reach = math.ceil(reach / 2) + 1
        return reach

    def band_bytes(self, height: int, width: int, rows: int) -> int:
        """Upper estimate of the memory that decoding one picture in bands of so many pixel rows needs beside the
        weights: the two copies of what is kept whole, a band, and the pixels."""
        depth = self._kept_depth
        kept = max(stage.channels / 4**index for index, stage in enumerate(self.decoder) if index >= depth)
        around = 2 * self.band_reach * 2**depth
        return int(4 * height * width * (2 * kept + 3)) + self.decode_bytes(min(rows + around, height), width)

    @property
    def _is_attended(self) -> bool:
        return any(stage.block == "vit" for stage in self.decoder)

    @property
    def _kept_depth(self) -> int:
        """Of the first stage that is kept whole where a picture is decoded in bands."""
        attended = (depth for depth, stage in enumerate(self.decoder) if stage.block == "vit")
        return next(attended, len(self.decoder) - 1)

    def largest_tensor(self, height: int, width: int) -> int:
        """Values in the largest single tensor of decoding one ``height`` x ``width`` picture."""
        per_pixel = 0.0
        for depth, stage in enumerate(self.decoder):
            channels = stage.channels * (8 if stage.block == "vit" else 1)  # 8: the inside of the Mix-FFN
            per_pixel = max(per_pixel, channels / 4**depth if stage.num_blocks else 0.0)
        if self.up == "interpolate":  # enlarges before the convolution takes channels away
            per_pixel = max([per_pixel, *(deeper.channels / 4**depth for depth, deeper in enumerate(self.decoder[1:]))])
        return int(per_pixel * height * width)


def stages(
    channels: Sequence[int],
    depths: Sequence[int],
    *,
    num_res: int = 3,
    scales: tuple[int, ...] = (5,),
    shallow_norm: NormKind = "rms",
    shallow_activation: Activation = "silu",
) -> tuple[DCAutoencoderStage, ...]:
    """The usual list of stages: ``num_res`` of residual blocks, EfficientViT blocks below."""
    return tuple(
        DCAutoencoderStage(channels=c, num_blocks=d, norm=shallow_norm, activation=shallow_activation)
        if i < num_res
        else DCAutoencoderStage(channels=c, num_blocks=d, block="vit", scales=scales)
        for i, (c, d) in enumerate(zip(channels, depths, strict=True))
    )
