"""What the recogniser reads: EfficientNet-Lite0's maps of a whole picture, and of things cut out of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from sanakit.common.pixels import Picture, to_unit
from sanakit.models.recogniser import PATCHES, CutoutMaps, PictureMaps
from sanakit.scoring.extractors.efficientnet_lite import load_efficientnet_lite0
from sanakit.worlds.scenes.description import Box

PICTURE_SIZE = 128  # pixels each way at which pictures are read
CUTOUT_SIZE = 96
_MARGIN = 0.12  # of the longer side, around a cut-out
_PADDING = 64  # pixels of the edge's colours around a picture: cut-outs may reach so far over it


class Looking(nn.Module):
    """The frozen network; pictures and cut-outs come as they are, `squared` and `cut_out`."""

    def __init__(self) -> None:
        super().__init__()
        self.network = load_efficientnet_lite0()
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @torch.no_grad()
    def pictures(self, pictures: Sequence[Picture]) -> PictureMaps:
        """Pictures of 128 x 128 to their maps, float32."""
        pixels = to_unit(pictures).to(self.device)
        fine, middle, coarse = self.network.stages(pixels * 2 - 1)[2:]
        return PictureMaps(fine, middle, coarse, F.avg_pool2d(pixels, PICTURE_SIZE // 16))

    @torch.no_grad()
    def cutouts(self, cutouts: Sequence[Picture]) -> CutoutMaps:
        """Cut-outs of 96 x 96 to their maps, float32."""
        pixels = to_unit(cutouts).to(self.device)
        fine, middle, coarse = self.network.stages(pixels * 2 - 1)[2:]
        fine, middle, coarse = (F.adaptive_avg_pool2d(part, PATCHES) for part in (fine, middle, coarse))
        return CutoutMaps(fine, middle, coarse, F.avg_pool2d(pixels, CUTOUT_SIZE // 8))


def squared(picture: Picture) -> Picture:
    """Any ``(H, W, 3)`` at the size at which pictures are read; the aspect ratio is not kept."""
    if picture.shape[:2] == (PICTURE_SIZE, PICTURE_SIZE):
        return picture
    image = Image.fromarray(picture).resize((PICTURE_SIZE, PICTURE_SIZE), Image.Resampling.BICUBIC)
    return np.asarray(image)


def cut_out(picture: Picture, boxes: Sequence[Box]) -> list[Picture]:
    """The square around each box, with a margin, enlarged or reduced; beyond the picture its edge goes on."""
    size = len(picture)
    padded = Image.fromarray(np.pad(picture, ((_PADDING, _PADDING), (_PADDING, _PADDING), (0, 0)), mode="edge"))
    return [
        np.asarray(padded.resize((CUTOUT_SIZE,) * 2, Image.Resampling.BILINEAR, box=_square(box, size)))
        for box in boxes
    ]


def _square(box: Box, size: int) -> Box:
    """In pixels of the padded picture, and within it."""
    left, top, right, bottom = (edge * size for edge in box)
    half = max(right - left, bottom - top, 4.0) * (0.5 + _MARGIN)
    half = min(half, size / 2 + _PADDING)
    centres = ((left + right) / 2, (top + bottom) / 2)
    x, y = (min(max(centre, half - _PADDING), size + _PADDING - half) + _PADDING for centre in centres)
    return x - half, y - half, x + half, y + half
