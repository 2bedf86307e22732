"""Bringing a picture to the size of its bin: resized until it covers the bin, then cut at the centre."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ResizeRule = Literal["bicubic", "lanczos"]
_LANCZOS_AREA = (1600 * 1600, 3400 * 3400)  # of the bins at 2048 and 2880 px, where upstream uses Lanczos


def resize_rule(height: int, width: int) -> ResizeRule:
    """The filter that SANA's training uses for a bin: Lanczos at 2048 and 2880 px, bicubic everywhere else."""
    return "lanczos" if _LANCZOS_AREA[0] < height * width < _LANCZOS_AREA[1] else "bicubic"


def covering_size(size: tuple[int, int], height: int, width: int) -> tuple[int, int]:
    """``(width, height)`` to resize a picture of ``(width, height)`` to, so that it just covers the bin."""
    own_width, own_height = size
    if height * own_width > width * own_height:  # height / own_height > width / own_width
        return own_width * height // own_height, height
    return width, own_height * width // own_width


def fit_to_bin(image: Image.Image, height: int, width: int) -> NDArray[np.uint8]:
    """An RGB picture as ``(height, width, 3)`` uint8.

    Source: the training transform of upstream's multi-aspect data sets.
    """
    size = covering_size(image.size, height, width)
    if size != image.size:
        image = image.resize(size, Image.Resampling[resize_rule(height, width).upper()])
    left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
    return np.asarray(image.crop((left, top, left + width, top + height)))
