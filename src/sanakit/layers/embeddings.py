"""Embeddings: of time, of position, of a scalar, of the text."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sanakit.common.errors import ConfigError


def sinusoid(t: Tensor, channels: int = 256) -> Tensor:
    """Cosines, then sines, of ``t`` at ``channels / 2`` frequencies from 1 down to 1/10000.

    Args:
        t: ``(B,)``, usually ``1000 * sigma``.
        channels: an even number.

    Returns:
        ``(B, channels)`` float32, whatever the dtype of ``t``: half precision would merge neighbouring times.
    """
    half = channels // 2
    exponents = torch.arange(half, device=t.device, dtype=torch.float32) / half
    angles = t.float()[:, None] * torch.exp(-math.log(10000.0) * exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class ScalarEmbedding(nn.Module):
    """A number per sample, ``(B,)``, to ``(B, C)``: sinusoid, then two linear layers."""

    def __init__(self, hidden_size: int, *, frequency_channels: int = 256) -> None:
        super().__init__()
        self.frequency_channels = frequency_channels
        self.linear_1 = nn.Linear(frequency_channels, hidden_size)
        self.linear_2 = nn.Linear(hidden_size, hidden_size)

    def forward(self, t: Tensor) -> Tensor:
        waves = sinusoid(t, self.frequency_channels).to(
            self.linear_1.bias.dtype
        )  # that of activations, whatever the matrices are
        return self.linear_2(F.silu(self.linear_1(waves)))


class CaptionProjection(nn.Module):
    """Hidden states of the language model ``(B, L, C_text)`` to ``(B, L, C)``."""

    def __init__(self, caption_channels: int, hidden_size: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(caption_channels, hidden_size)
        self.linear_2 = nn.Linear(hidden_size, hidden_size)

    def forward(self, text: Tensor) -> Tensor:
        return self.linear_2(F.gelu(self.linear_1(text), approximate="tanh"))


def check_interpolation(scale: float | None, channels: int) -> None:
    """Raises ConfigError where `sincos_position` cannot be; None is none."""
    if scale is None:
        return
    if channels % 4:
        raise ConfigError(f"a positional embedding needs hidden_size divisible by 4, not {channels}")
    if not scale > 0:
        raise ConfigError(f"interpolation_scale={scale} must be positive; null is no embedding")


def added_position(
    size: tuple[int, int], x: Tensor, *, base_size: int, interpolation_scale: float | None
) -> Tensor | float:
    """What is added to the tokens ``x (B, N, C)`` of a grid of that height and width: `sincos_position`, of no scale
    nothing."""
    if interpolation_scale is None:
        return 0.0
    scale, channels = interpolation_scale, x.shape[-1]
    position = sincos_position(*size, channels, base_size=base_size, interpolation_scale=scale, device=x.device)
    return position.to(x.dtype)


def sincos_position(
    height: int, width: int, channels: int, *, base_size: int, interpolation_scale: float, device: torch.device
) -> Tensor:
    """Fixed 2-D positional embedding, ``(1, height * width, channels)`` float32; columns come first.

    Any grid is stretched onto the trained square of ``base_size`` positions a side. The waves are computed in float64:
    on CUDA there, as a copy would be waited for, else on the CPU, as not every accelerator has it.

    Source: SANA at 2K and 4K; the formula is the one of the masked autoencoder, arXiv:2111.06377.
    """

    place = device if device.type == "cuda" else "cpu"

    def wave(positions: Tensor) -> Tensor:  # (P,) to (P, channels / 2)
        exponents = torch.arange(channels // 4, device=place, dtype=torch.float64) / (channels / 4)
        angles = positions[:, None] * 10000.0**-exponents
        return torch.cat([angles.sin(), angles.cos()], dim=-1).float().to(device)

    rows = torch.arange(height, device=place, dtype=torch.float64) / (height / base_size) / interpolation_scale
    columns = torch.arange(width, device=place, dtype=torch.float64) / (width / base_size) / interpolation_scale
    half = channels // 2
    row_waves = wave(rows)[:, None, :].expand(height, width, half)
    column_waves = wave(columns)[None, :, :].expand(height, width, half)
    return torch.cat([column_waves, row_waves], dim=-1).flatten(0, 1)[None]
