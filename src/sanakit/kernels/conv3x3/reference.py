"""A 3x3 convolution and what follows it in an autoencoder, in plain PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from sanakit.kernels.pixel_norm.reference import Activation, activated, pixel_rms_norm


class PixelNorm(NamedTuple):
    """RMS norm over the channels of every pixel: ``weight`` and ``bias`` ``(C,)``."""

    weight: Tensor
    bias: Tensor
    eps: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Epilogue:
    """What follows the convolution: ``norm(activation(...)) + residual``.

    The residual has the shape of the result; or, after an upsampling convolution, ``(B, C, H, W)`` whose channels are
    repeated until there are ``4 * C_out``, which then lie as the four pixels of one (DC-AE's shortcut). With
    ``in_place`` the result may take the memory of a residual of its own shape.
    """

    activation: Activation = "none"
    norm: PixelNorm | None = None
    residual: Tensor | None = None
    in_place: bool = False


NOTHING = Epilogue()


def conv3x3(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, after: Epilogue = NOTHING, *, upsample: bool = False
) -> Tensor:
    """A convolution of stride 1 and padding 1, and what follows it.

    Args:
        x: ``(B, C_in, H, W)``.
        weight, bias: ``(C_out, C_in, 3, 3)`` and ``(C_out,)``.
        after: what follows.
        upsample: every pixel of x is read as a square of 2x2.

    Returns:
        ``(B, C_out, H, W)``, twice as high and wide with ``upsample``.

    Source: DC-AE, arXiv:2410.10733, section 3.2.
    """
    if upsample:
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
    y = activated(F.conv2d(x, weight, bias, padding=1), after.activation)
    if after.norm is not None:
        y = pixel_rms_norm(y, *after.norm)
    if after.residual is None:
        return y
    return y + (_spread(after.residual, 4 * y.shape[1]) if upsample else after.residual)


def _spread(x: Tensor, channels: int) -> Tensor:
    return F.pixel_shuffle(x.repeat_interleave(channels // x.shape[1], dim=1), 2)
