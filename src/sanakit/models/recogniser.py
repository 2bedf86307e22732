"""A small recogniser: over feature maps of a frozen network it finds things in a picture and names what was cut out.

The finder looks at the whole picture on a grid of 8 x 8 cells: whether something is centred in a cell, how large it is,
and what is behind. The namer looks at one thing at a time, cut out and enlarged, so that small things are read as well
as large ones; its first two answers are "like nothing known" and "only ground".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sanakit.common.errors import ConfigError, ShapeError
from sanakit.models.network import Network

GRID = 8  # cells of the finder, each way
PATCHES = 3  # of the namer, each way
UNKNOWN, ONLY_GROUND, NUM_SPECIAL = 0, 1, 2  # the first answers of the namer; names follow
ONE_COLOUR = 0  # the first ground: plain or graded; drawn ones and places follow


@dataclass(frozen=True, kw_only=True, slots=True)
class RecogniserConfig:
    """Words that it can say, and sizes. ``channels`` are of the frozen maps, fine to coarse (1/8, 1/16 and 1/32)."""

    names: tuple[str, ...]
    colours: tuple[str, ...]  # of things
    ground_colours: tuple[str, ...]
    drawn_grounds: tuple[str, ...]
    places: tuple[str, ...]
    channels: tuple[int, int, int] = (40, 112, 320)
    finder_size: int = 96
    ground_size: int = 128
    patch_sizes: tuple[int, int, int] = (24, 48, 96)
    namer_size: int = 224

    def __post_init__(self) -> None:
        if not self.names or not self.colours or not self.ground_colours:
            raise ConfigError("a recogniser needs names, colours and ground_colours; one of them is empty")

    @property
    def grounds(self) -> tuple[str, ...]:
        """Behind the first, which is of one or two colours."""
        return (*self.drawn_grounds, *self.places)

    @property
    def readable(self) -> set[str]:
        """Names of things and of grounds that it can say."""
        return {*self.names, *self.grounds}


class PictureMaps(NamedTuple):
    """Of a picture: maps ``(B, C, 16, 16)``, ``(B, C, 8, 8)``, ``(B, C, 4, 4)``, and colours ``(B, 3, 16, 16)``."""

    fine: Tensor
    middle: Tensor
    coarse: Tensor
    colours: Tensor


class CutoutMaps(NamedTuple):
    """Of a thing that was cut out: three maps ``(N, C, 3, 3)``, and colours ``(N, 3, 8, 8)``."""

    fine: Tensor
    middle: Tensor
    coarse: Tensor
    colours: Tensor


class Findings(NamedTuple):
    """Logits of the finder: ``heat`` ``(B, 8, 8)``; ``boxes`` ``(B, 4, 8, 8)``: the centre in its cell from 0 to
    1 across and down, and the logarithms of width and height in canvases; ``grounds``; the ``upper`` and ``lower``
    colour of a plain or graded ground."""

    heat: Tensor
    boxes: Tensor
    grounds: Tensor  # (B, 1 + drawn + places)
    upper: Tensor  # (B, ground colours)
    lower: Tensor


class Names(NamedTuple):
    """Logits ``(N, 2 + names)`` and ``(N, 1 + colours)``; the first colour is none in particular."""

    names: Tensor
    colours: Tensor


class Standardised(nn.Module):
    """Channels by statistics that are set before training, so that loud ones do not rule."""

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

    def set_(self, values: Tensor) -> None:
        """Take the statistics of ``(B, C, h, w)``."""
        rows = values.float().movedim(1, -1).flatten(0, -2)
        self.mean.copy_(rows.mean(0))
        self.std.copy_(rows.std(0).clamp(min=1e-3))

    def forward(self, values: Tensor) -> Tensor:
        return (values - self.mean[:, None, None]) / self.std[:, None, None]


class Finder(nn.Module):
    """Maps of a picture to `Findings`."""

    def __init__(self, config: RecogniserConfig) -> None:
        super().__init__()
        fine, middle, coarse = config.channels
        width, inner = config.finder_size, config.ground_size
        self.standards = nn.ModuleList(Standardised(channels) for channels in (*config.channels, 3))
        self.proj_in = nn.Conv2d(4 * fine + middle + coarse + 12, width, 1)
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.everywhere = nn.Linear(width, width)
        self.out = nn.Conv2d(width, 5, 1)
        self.ground_patch = nn.Conv2d(coarse, 32, 1)
        self.ground_in = nn.Linear(32 * 16 + middle + 3 * 64, inner)
        self.num_colours = len(config.ground_colours)
        self.ground_out = nn.Linear(inner, 1 + len(config.grounds) + 2 * self.num_colours)
        assert self.out.bias is not None
        with torch.no_grad():
            self.out.bias.zero_()[0] = -3.0  # most cells are not the centre of anything

    def forward(self, maps: PictureMaps) -> Findings:
        fine, middle, coarse, colours = (standard(part) for standard, part in zip(self.standards, maps, strict=True))
        parts = (
            F.pixel_unshuffle(fine, 2),
            middle,
            F.interpolate(coarse, scale_factor=2.0),
            F.pixel_unshuffle(colours, 2),
        )
        hidden = F.gelu(self.proj_in(torch.cat(parts, dim=1)))  # (B, C, 8, 8)
        hidden = hidden + self.everywhere(hidden.mean((2, 3)))[:, :, None, None]
        for conv in self.convs:
            hidden = hidden + F.gelu(conv(hidden))
        out = self.out(hidden)
        behind = (
            F.gelu(self.ground_patch(coarse)).flatten(1),
            middle.mean((2, 3)),
            F.avg_pool2d(colours, 2).flatten(1),
        )
        logits = self.ground_out(F.gelu(self.ground_in(torch.cat(behind, dim=1))))
        grounds, upper, lower = logits.tensor_split((-2 * self.num_colours, -self.num_colours), dim=1)
        return Findings(out[:, 0], out[:, 1:], grounds, upper, lower)


class Namer(nn.Module):
    """Maps of a cut-out to `Names`."""

    def __init__(self, config: RecogniserConfig) -> None:
        super().__init__()
        width = config.namer_size
        self.standards = nn.ModuleList(Standardised(channels) for channels in (*config.channels, 3))
        self.patches = nn.ModuleList(
            nn.Conv2d(channels, size, 1) for channels, size in zip(config.channels, config.patch_sizes, strict=True)
        )
        self.proj_in = nn.Linear(sum(config.patch_sizes) * PATCHES**2 + 3 * 64, width)
        self.norm = nn.LayerNorm(width)
        self.proj = nn.Linear(width, width)
        self.names = nn.Linear(width, NUM_SPECIAL + len(config.names))
        self.colours = nn.Linear(width + 3 * 64, 1 + len(config.colours))

    def forward(self, maps: CutoutMaps) -> Names:
        *parts, colours = (standard(part) for standard, part in zip(self.standards, maps, strict=True))
        patches = [F.gelu(patch(part)).flatten(1) for patch, part in zip(self.patches, parts, strict=True)]
        shown = colours.flatten(1)
        hidden = self.norm(F.gelu(self.proj_in(torch.cat([*patches, shown], dim=1))))
        hidden = hidden + F.gelu(self.proj(hidden))
        return Names(self.names(hidden), self.colours(torch.cat([hidden, shown], dim=1)))


class Recogniser(Network):
    """A finder and a namer; what passes between them, the cutting out, is done by whoever reads pictures with it."""

    def __init__(self, config: RecogniserConfig) -> None:
        super().__init__()
        self.config = config
        self.finder, self.namer = Finder(config), Namer(config)

    def forward(self, pictures: PictureMaps, cutouts: CutoutMaps) -> tuple[Findings, Names]:
        """Both at once, of pictures and cut-outs that need not belong together.

        Raises:
            ShapeError: maps of another network or of another size.
        """
        if tuple(pictures.middle.shape[1:]) != (self.config.channels[1], GRID, GRID):
            raise ShapeError(f"maps of shape {tuple(pictures.middle.shape)} are not those of a picture of 128 px")
        return self.finder(pictures), self.namer(cutouts)
