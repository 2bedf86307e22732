"""A 3x3 convolution and what follows it in an autoencoder, in plain PyTorch."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from sanakit.kernels.pixel_norm.reference import Activation, activated, pixel_rms_norm


class PixelNorm(NamedTuple):
    """RMS norm over the channels of every pixel: ``weight`` and ``bias`` ``(C,)``."""

    weight: Tensor
    bias: Tensor
    eps: float


def conv3x3(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    activation: Activation = "none",
    norm: PixelNorm | None = None,
    residual: Tensor | None = None,
    upsample: bool = False,
) -> Tensor:
    """``norm(activation(conv(x) + bias)) + residual``, stride 1, padding 1.

    Args:
        x: ``(B, C_in, H, W)``.
        weight, bias: ``(C_out, C_in, 3, 3)`` and ``(C_out,)``.
        activation, norm: what follows, in this order.
        residual: added at the end, of the output's shape; or, with ``upsample``, ``(B, C, H, W)`` whose channels are
            repeated until there are ``4 * C_out``, which then lie as the four pixels of one (DC-AE's shortcut).
        upsample: every pixel of x is read as a square of 2x2.

    Returns:
        ``(B, C_out, H, W)``, twice as high and wide with ``upsample``.

    Source: DC-AE, arXiv:2410.10733, section 3.2.
    """
    if upsample:
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
    y = activated(F.conv2d(x, weight, bias, padding=1), activation)
    if norm is not None:
        y = pixel_rms_norm(y, *norm)
    if residual is not None:
        y = y + (F.pixel_shuffle(_repeated(residual, 4 * y.shape[1]), 2) if upsample else residual)
    return y


def _repeated(x: Tensor, channels: int) -> Tensor:
    return x.repeat_interleave(channels // x.shape[1], dim=1)
