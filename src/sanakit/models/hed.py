"""HED, a network that finds the edges that people draw (Holistically-Nested Edge Detection, arXiv:1504.06375)."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sanakit.models.network import Network

DEPTHS = (2, 2, 3, 3, 3)
"""Convolutions of each stage, as of VGG-16."""


class HED(Network):
    """BGR levels ``(B, 3, H, W)`` less their mean to edges ``(B, 1, H, W)`` in [0, 1].

    Args:
        widths: channels of each stage.
    """

    MEAN = (104.00699, 116.66877, 122.67892)  # of blue, green and red, over the pictures that it was trained on

    def __init__(self, widths: tuple[int, ...] = (64, 128, 256, 512, 512)) -> None:
        super().__init__()
        self.stages = nn.ModuleList(map(_convs, (3, *widths[:-1]), widths, DEPTHS))
        self.sides = nn.ModuleList(nn.Conv2d(width, 1, 1) for width in widths)
        self.fuse = nn.Conv2d(len(widths), 1, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """What every stage finds, at the size of the picture, weighed."""
        size, x, found = pixels.shape[-2:], pixels, []
        for index, (stage, side) in enumerate(zip(self.stages, self.sides, strict=True)):
            x = F.max_pool2d(x, 2, ceil_mode=True) if index else x
            for conv in cast(nn.ModuleList, stage):
                x = F.relu(conv(x))
            found.append(F.interpolate(side(x), size=size, mode="bilinear"))
        return torch.sigmoid(self.fuse(torch.cat(found, dim=1)))


def _convs(inputs: int, width: int, depth: int) -> nn.ModuleList:
    return nn.ModuleList(nn.Conv2d(width if index else inputs, width, 3, padding=1) for index in range(depth))
