"""PatchGAN: a discriminator that judges every patch of a picture, and what it and the generator minimise."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from sanakit.common.devices import widened
from sanakit.common.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchGANConfig:
    """The discriminator and its part in the generator's loss.

    Attributes:
        num_layers: convolutions that halve the size; each judgement sees 16, 34, 70 or 142 pixels with 1 to 4 of them.
        channels: of the first one; they double to eight times that.
        norm: "group" (statistics of one picture), "spectral" (of the weights), or "none". Never of a batch: those
            would differ between one process and two.
        weight: of the adversarial term. The community recipe for DC-AE says 0.5.
        adaptive: scale the weight by the ratio of both terms' gradients at the last layer (VQGAN); else it is fixed.
        start_step: of the stage, before which the discriminator learns alone.
    """

    num_layers: int = 3
    channels: int = 64
    norm: Literal["group", "spectral", "none"] = "group"
    weight: float = 0.5
    adaptive: bool = False
    start_step: int = 0

    def __post_init__(self) -> None:
        if self.num_layers < 1 or self.channels < 1:
            raise ConfigError(f"gan.num_layers={self.num_layers} and gan.channels={self.channels} must be at least 1")
        if self.norm == "group" and self.channels % 8:
            raise ConfigError(f"gan.channels={self.channels} must be a multiple of 8 with norm: group")
        if not self.weight > 0 or self.start_step < 0:
            raise ConfigError(
                f"gan.weight={self.weight} must be positive and gan.start_step={self.start_step} 0 or more"
            )


class PatchDiscriminator(nn.Module):
    """Pixels ``(B, 3, H, W)`` to judgements ``(B, 1, h, w)``, about one per ``2**num_layers`` pixels.

    Source: Isola et al., arXiv:1611.07004, as in VQGAN (arXiv:2012.09841) but for the norm.
    """

    def __init__(self, config: PatchGANConfig) -> None:
        super().__init__()
        widths = [config.channels * min(2**index, 8) for index in range(config.num_layers + 1)]
        layers: list[nn.Module] = [_conv(3, widths[0], 2, config), nn.LeakyReLU(0.2)]
        for index, (before, after) in enumerate(pairwise(widths)):
            stride = 2 if index < config.num_layers - 1 else 1
            layers += [_conv(before, after, stride, config), _norm(after, config), nn.LeakyReLU(0.2)]
        layers.append(_conv(widths[-1], 1, 1, config))
        self.layers = nn.Sequential(*layers)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.layers(pixels)


def _conv(before: int, after: int, stride: int, config: PatchGANConfig) -> nn.Module:
    conv = nn.Conv2d(before, after, 4, stride=stride, padding=1)
    nn.init.normal_(conv.weight, 0.0, 0.02)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return spectral_norm(conv) if config.norm == "spectral" else conv


def _norm(channels: int, config: PatchGANConfig) -> nn.Module:
    return nn.GroupNorm(8, channels) if config.norm == "group" else nn.Identity()


def discriminator_loss(real: Tensor, made: Tensor) -> Tensor:
    """Hinge: ``(mean relu(1 - real) + mean relu(1 + made)) / 2`` of judgements of any shape."""
    return (F.relu(1 - widened(real)).mean() + F.relu(1 + widened(made)).mean()) / 2


def generator_loss(made: Tensor) -> Tensor:
    """Hinge: ``-mean made``."""
    return -widened(made).mean()


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, last_layer: Tensor) -> Tensor:
    """``|grad of reconstruction| / |grad of adversarial|`` at the weights of the last layer, up to 10 000, detached.

    Source: VQGAN, arXiv:2012.09841, equation 7.
    """
    (first,) = torch.autograd.grad(reconstruction, last_layer, retain_graph=True)
    (second,) = torch.autograd.grad(adversarial, last_layer, retain_graph=True)
    return (first.norm() / (second.norm() + 1e-4)).clamp(max=1e4).detach()
