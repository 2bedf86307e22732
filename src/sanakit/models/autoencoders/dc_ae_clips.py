"""A causal autoencoder of clips around one of pictures: every frame goes through the DC-AE, and the latents of so many
frames become one.

The first frame stands alone: its latent is the one of the picture, so a model of pictures and one of clips share a
space. Of the others each group is put together from its own latents and the last one before it, and taken apart from
its latent and the one before; nothing sees a later frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from sanakit.common.errors import ConfigError
from sanakit.layers.causal import ClipMemory, by_frame
from sanakit.layers.conv3x3 import Conv3x3
from sanakit.layers.norms import PixelRMSNorm
from sanakit.models.autoencoders.clips import ClipAutoencoder
from sanakit.models.autoencoders.dc_ae import DCAutoencoder, ResBlock
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig, DCAutoencoderStage


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeConfig:
    """How frames are put together: ``frames`` of them in one of the latent, by ``num_blocks`` residual blocks of
    ``channels`` on either side."""

    frames: int = 4
    channels: int = 128
    num_blocks: int = 2

    def __post_init__(self) -> None:
        if self.frames < 2 or self.channels < 1 or self.num_blocks < 0:
            raise ConfigError(
                f"an autoencoder of clips with frames={self.frames}, channels={self.channels}, "
                f"num_blocks={self.num_blocks} cannot be built; it puts 2 frames or more together, with 1 "
                f"channel or more"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class DCClipAutoencoderConfig:
    """The autoencoder of the frames, and what puts these together."""

    picture: DCAutoencoderConfig
    time: TimeConfig

    @property
    def compression(self) -> int:
        """Pixels of a side in one of the latent."""
        return self.picture.compression

    @property
    def temporal_compression(self) -> int:
        """Frames in one of the latent, but for the first, which stands alone."""
        return self.time.frames

    @property
    def latent_channels(self) -> int:
        return self.picture.latent_channels

    @property
    def in_channels(self) -> int:
        return self.picture.in_channels


class FrameMixer(nn.Module):
    """Latents of several frames side by side, ``(B, in, h, w)``, to what is added to a plain guess, ``(B, out, h, w)``;
    nothing at first."""

    def __init__(self, in_channels: int, out_channels: int, config: TimeConfig) -> None:
        super().__init__()
        stage = DCAutoencoderStage(channels=config.channels, num_blocks=config.num_blocks)
        self.conv_in = Conv3x3(in_channels, config.channels)
        self.blocks = nn.ModuleList(ResBlock(stage) for _ in range(config.num_blocks))
        self.conv_out = Conv3x3(config.channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for block in self.blocks:
            x = block(x)
        return self.conv_out(x)


class DCClipAutoencoder(ClipAutoencoder):
    """The autoencoder; latents outside of it have about unit variance, and nothing is sampled."""

    outside_forward: ClassVar = ("encode_chunk", "decode_chunk")
    config: DCClipAutoencoderConfig

    def __init__(self, config: DCClipAutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        channels, frames = config.latent_channels, config.time.frames
        self.picture = DCAutoencoder(config.picture)
        self.gather = FrameMixer((frames + 1) * channels, channels, config.time)
        self.spread = FrameMixer(2 * channels, frames * channels, config.time)

    @property
    def units(self) -> tuple[nn.Module, ...]:
        return tuple(module for module in self.modules() if isinstance(module, ResBlock)) + tuple(
            unit for unit in self.picture.units if not isinstance(unit, ResBlock)
        )

    @property
    def apart(self) -> tuple[nn.Module, ...]:
        return (*self.picture.apart, self.gather, self.spread)

    def encoding_state(self) -> dict[str, Tensor]:
        own = {f"gather.{name}": value for name, value in self.gather.state_dict().items()}
        return own | {f"picture.{name}": value for name, value in self.picture.encoder.state_dict().items()}

    def encode_chunk(self, pixels: Tensor, memory: ClipMemory) -> Tensor:
        latents = by_frame(self.picture.encode, pixels)  # (B, C, T, h, w)
        begins = memory.begins(self.picture.encoder)
        whole = memory.before(self.gather, latents, 1, copies=True)[:, :, 1 if begins else 0 :]
        gathered = self._gathered(whole)
        return torch.cat([latents[:, :, :1], gathered], dim=2) if begins else gathered

    def decode_chunk(self, latent: Tensor, memory: ClipMemory) -> Tensor:
        begins = memory.begins(self.picture.decoder)
        whole = memory.before(self.spread, latent, 1, copies=True)[:, :, 1 if begins else 0 :]
        frames = self._apart(whole)
        frames = torch.cat([latent[:, :, :1], frames], dim=2) if begins else frames
        return by_frame(self.picture.decode, frames)

    def _gathered(self, latents: Tensor) -> Tensor:
        """Latents of frames ``(B, C, 1 + n r, h, w)``, of which the first is known already, to ``(B, C, n, h, w)``."""
        if latents.shape[2] == 1:
            return latents[:, :, :0]
        groups = latents.unfold(2, self.config.time.frames + 1, self.config.time.frames)  # (B, C, n, h, w, 1 + r)
        beside = groups.permute(0, 2, 5, 1, 3, 4).flatten(0, 1).flatten(1, 2)  # (B * n, (1 + r) * C, h, w)
        # The plain guess is the middle of the group: less is to be added to it than to its last frame.
        guess = latents[:, :, 1:].unflatten(2, (-1, self.config.time.frames)).mean(dim=3)
        return guess + self.gather(beside).unflatten(0, (len(latents), -1)).transpose(1, 2)

    def _apart(self, latents: Tensor) -> Tensor:
        """``(B, C, 1 + n, h, w)``, of which the first is shown already, to the latents of ``n r`` frames."""
        if latents.shape[2] == 1:
            return latents[:, :, :0]
        before, now = latents[:, :, :-1], latents[:, :, 1:]
        beside = torch.cat([before, now], dim=1).transpose(1, 2).flatten(0, 1)  # (B * n, 2 * C, h, w)
        added = self.spread(beside).unflatten(1, (self.config.time.frames, -1))  # (B * n, r, C, h, w)
        added = added.unflatten(0, (len(latents), -1)).flatten(1, 2).transpose(1, 2)  # (B, C, n * r, h, w)
        return now.repeat_interleave(self.config.time.frames, dim=2) + added


def clips_of_pictures(picture: DCAutoencoder, time: TimeConfig, seed: int) -> DCClipAutoencoder:
    """An autoencoder of clips from one of pictures, whose weights it takes: before it is trained, a group of frames is
    their mean."""
    model = DCClipAutoencoder(DCClipAutoencoderConfig(picture=picture.config, time=time))
    model.picture.load_state_dict(picture.state_dict())
    generator = torch.Generator().manual_seed(seed)
    for mixer in (model.gather, model.spread):
        for module in mixer.modules():
            if isinstance(module, PixelRMSNorm):
                nn.init.constant_(module.weight, 0.1)  # small residual branches, as in the autoencoder of pictures
            elif isinstance(module, Conv3x3):
                bound = (module.weight[0].numel()) ** -0.5
                nn.init.uniform_(module.weight, -bound, bound, generator=generator)
        for parameter in mixer.conv_out.parameters():
            nn.init.zeros_(parameter)
    return model
