"""What a feature extractor is, and the resizing that is part of its protocol."""

from __future__ import annotations

from typing import Protocol

import torch.nn.functional as F
from torch import Tensor

from sanakit.scoring.named import NamedNetwork


class FeatureExtractor(NamedNetwork, Protocol):
    """Pictures to features; two sets of features from one extractor can be compared, from different ones never."""

    @property
    def num_features(self) -> int: ...

    def __call__(self, images: Tensor) -> Tensor:
        """Images ``(B, 3, H, W)`` in [0, 1] of any size to features ``(B, num_features)``, float32."""
        ...


def resize_bicubic(images: Tensor, height: int, width: int) -> Tensor:
    """Antialiased bicubic resizing of ``(B, 3, H, W)`` in [0, 1], clipped to that range.

    The filter is Pillow's on float channels, which Parmar et al. (arXiv:2104.11222) found to be the one without
    aliasing; without antialiasing the same two sets of pictures get another distance.
    """
    if images.shape[-2:] == (height, width):
        return images
    return F.interpolate(images, size=(height, width), mode="bicubic", antialias=True).clamp(0, 1)
