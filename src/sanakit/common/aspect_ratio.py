"""Aspect-ratio bins: the picture sizes that a SANA model was trained on, all of about the same area.

One table at 1024 px is everything; the other base sizes are exact multiples of it. It lives here because data
(sorting training pictures) and pipelines (choosing a size to generate) both need it.
"""

from __future__ import annotations

import math
from types import MappingProxyType

from sanakit.common.errors import RequestError

# height / width, rounded as in the published tables, to (height, width) at 1024 px
_TABLE_1024 = {
    0.25: (512, 2048), 0.26: (512, 1984), 0.27: (512, 1920), 0.28: (512, 1856), 0.32: (576, 1792), 0.33: (576, 1728),
    0.35: (576, 1664), 0.4: (640, 1600), 0.42: (640, 1536), 0.48: (704, 1472), 0.5: (704, 1408), 0.52: (704, 1344),
    0.57: (768, 1344), 0.6: (768, 1280), 0.68: (832, 1216), 0.72: (832, 1152), 0.78: (896, 1152), 0.82: (896, 1088),
    0.88: (960, 1088), 0.94: (960, 1024), 1.0: (1024, 1024), 1.07: (1024, 960), 1.13: (1088, 960), 1.21: (1088, 896),
    1.29: (1152, 896), 1.38: (1152, 832), 1.46: (1216, 832), 1.67: (1280, 768), 1.75: (1344, 768), 2.0: (1408, 704),
    2.09: (1472, 704), 2.4: (1536, 640), 2.5: (1600, 640), 2.89: (1664, 576), 3.0: (1728, 576), 3.11: (1792, 576),
    3.62: (1856, 512), 3.75: (1920, 512), 3.88: (1984, 512), 4.0: (2048, 512),
}  # fmt: skip

# Bins that training uses at every base size, but inference only from 2048 px up.
_TRAINING_ONLY = frozenset({0.26, 0.27, 2.89, 3.11, 3.62, 3.75, 3.88})

BASE_SIZES = (256, 512, 1024, 2048, 4096)

# The same of clips: at 480p in multiples of 16 and at 720p of 32 pixels.
_CLIP_RATIOS = (0.5, 0.57, 0.68, 0.78, 1.0, 1.13, 1.29, 1.46, 1.67, 1.75, 2.0)
_CLIP_SIZES = {
    480: ((448, 896), (480, 832), (528, 768), (560, 720), (624, 624), (672, 592), (720, 560), (768, 528), (816, 496),
          (832, 480), (896, 448)),
    720: ((672, 1344), (704, 1280), (800, 1152), (832, 1088), (960, 960), (1024, 896), (1088, 832), (1152, 800),
          (1248, 736), (1280, 704), (1344, 672)),
}  # fmt: skip
CLIP_SIZES = tuple(_CLIP_SIZES)

Bins = MappingProxyType[float, tuple[int, int]]


def aspect_ratio_bins(base_size: int, *, training: bool = False) -> Bins:
    """Ratio ``height / width`` to ``(height, width)`` in pixels, for one of ``BASE_SIZES``.

    Raises:
        RequestError: no table exists for that base size.
    """
    if base_size not in BASE_SIZES:
        raise RequestError(f"there are no aspect-ratio bins for {base_size} px; there are for {BASE_SIZES} px.")
    whole = training or base_size >= 2048
    return MappingProxyType({
        ratio: (height * base_size // 1024, width * base_size // 1024)
        for ratio, (height, width) in _TABLE_1024.items()
        if whole or ratio not in _TRAINING_ONLY
    })  # fmt: skip


def nearest_bin(height: int, width: int, base_size: int, *, training: bool = False) -> tuple[int, int]:
    """The ``(height, width)`` of the bin whose ratio is nearest to ``height / width``; the flatter one on a tie."""
    bins = aspect_ratio_bins(base_size, training=training)
    return bins[min(bins, key=lambda ratio: abs(ratio - height / width))]


def nearest_clip_bin(height: int, width: int, base_size: int) -> tuple[int, int]:
    """The same of clips of 480p and 720p, whose base sizes are ``CLIP_SIZES``."""
    bins = dict(zip(_CLIP_RATIOS, _CLIP_SIZES[base_size], strict=True))
    return bins[min(bins, key=lambda ratio: abs(ratio - height / width))]


def nominal_side(base_size: int) -> int:
    """Of a square with as many pixels as clips of that base size have; that of others is their own."""
    return math.isqrt(math.prod(nearest_clip_bin(480, 832, base_size))) if base_size in CLIP_SIZES else base_size
