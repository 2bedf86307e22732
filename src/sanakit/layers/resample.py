"""Down and up by two, with the space-to-channel shortcuts of DC-AE (arXiv:2410.10733, section 3.2)."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from sanakit.layers.conv3x3 import Conv3x3

DownOp = Literal["conv", "pixel_unshuffle"]
UpOp = Literal["interpolate", "pixel_shuffle"]


def average_groups(x: Tensor, channels: int) -> Tensor:
    """``(B, C, H, W)`` to ``(B, channels, H, W)``: the mean over consecutive groups of channels."""
    return x.unflatten(1, (channels, -1)).mean(dim=2)


def repeat_groups(x: Tensor, channels: int) -> Tensor:
    """``(B, C, H, W)`` to ``(B, channels, H, W)``: every channel repeated in place."""
    return x.repeat_interleave(channels // x.shape[1], dim=1)


class Downsample(nn.Module):
    """``(B, C_in, H, W)`` to ``(B, C_out, H/2, W/2)``."""

    def __init__(self, in_channels: int, out_channels: int, *, op: DownOp, shortcut: bool = True) -> None:
        super().__init__()
        self.op, self.shortcut, self.out_channels = op, shortcut, out_channels
        if op == "conv":
            self.conv = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1)
        else:
            self.conv = Conv3x3(in_channels, out_channels // 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        if self.op == "pixel_unshuffle":
            y = F.pixel_unshuffle(y, 2)
        if self.shortcut:
            y = y + average_groups(F.pixel_unshuffle(x, 2), self.out_channels)
        return y


class Upsample(nn.Module):
    """``(B, C_in, H, W)`` to ``(B, C_out, 2H, 2W)``."""

    def __init__(self, in_channels: int, out_channels: int, *, op: UpOp, shortcut: bool = True) -> None:
        super().__init__()
        self.op, self.shortcut, self.out_channels = op, shortcut, out_channels
        conv_channels = out_channels if op == "interpolate" else 4 * out_channels
        self.conv = Conv3x3(in_channels, conv_channels)

    def forward(self, x: Tensor) -> Tensor:
        if self.op == "interpolate":
            return self.conv(x, upsample=True, residual=x if self.shortcut else None)
        y = F.pixel_shuffle(self.conv(x), 2)
        if self.shortcut:
            y = y + F.pixel_shuffle(repeat_groups(x, 4 * self.out_channels), 2)
        return y
