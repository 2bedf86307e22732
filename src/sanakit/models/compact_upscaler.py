"""The compact upscaler of Real-ESRGAN: plain convolutions on the small picture, and one rearrangement at the end.

Its whole work is on the small picture, which makes it cheap; what it adds is a residual on the picture enlarged by
repeating pixels. The published ``realesr-animevideov3`` is this network with 16 hidden convolutions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from sanakit.common.errors import ConfigError, ShapeError
from sanakit.models.network import Network


@dataclass(frozen=True, kw_only=True, slots=True)
class CompactUpscalerConfig:
    """Sizes; the defaults are those of ``realesr-animevideov3``."""

    scale: int = 4  # of each side
    hidden_size: int = 64
    num_layers: int = 16  # convolutions between the first and the last

    def __post_init__(self) -> None:
        for name in ("scale", "hidden_size", "num_layers"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)} must be at least 1")

    @property
    def reach(self) -> int:
        """How many pixels of the small picture away a pixel still counts: one for each convolution."""
        return self.num_layers + 2


class CompactUpscaler(Network):
    """Pixels ``(B, 3, H, W)`` in [0, 1] to ``(B, 3, scale * H, scale * W)``, about [0, 1].

    Every convolution fills the surroundings of the picture with zeros.

    Source: Real-ESRGAN, arXiv:2107.10833, and its repository for the compact form.
    """

    config: CompactUpscalerConfig

    def __init__(self, config: CompactUpscalerConfig) -> None:
        super().__init__()
        self.config = config
        width, out = config.hidden_size, 3 * config.scale**2
        inputs, outputs = (3, *[width] * (config.num_layers + 1)), (*[width] * (config.num_layers + 1), out)
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in zip(inputs, outputs, strict=True))
        self.activations = nn.ModuleList(nn.PReLU(width) for _ in range(config.num_layers + 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Raises ``ShapeError`` unless there are three channels."""
        if pixels.ndim != 4 or pixels.shape[1] != 3:
            raise ShapeError(f"pixels of shape {tuple(pixels.shape)} are not (B, 3, H, W)")
        hidden = pixels
        for conv, activation in zip(self.convs, self.activations, strict=False):
            hidden = activation(conv(hidden))  # (B, C, H, W)
        residual = F.pixel_shuffle(self.convs[-1](hidden), self.config.scale)  # (B, 3, s H, s W)
        return residual + F.interpolate(pixels, scale_factor=self.config.scale, mode="nearest")
