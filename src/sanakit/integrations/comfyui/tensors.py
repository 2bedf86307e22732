"""ComfyUI's pictures and masks, and ours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sanakit.common.errors import RequestError


def as_arrays(images: Tensor) -> list[NDArray[np.uint8]]:
    """``IMAGE`` ``(B, H, W, 3 or 4)`` in [0, 1] as pictures of bytes; what is outside is brought to the ends."""
    return [_bytes(image) for image in images]


def as_masks(masks: Tensor, num: int) -> list[NDArray[np.uint8]]:
    """``MASK`` ``(B, H, W)`` or ``(H, W)`` in [0, 1], one for each of ``num`` pictures.

    Raises:
        RequestError: there are several, and not as many as pictures.
    """
    found = [_bytes(mask) for mask in masks.reshape(-1, *masks.shape[-2:])]
    if len(found) not in (1, num):
        raise RequestError(f"{len(found)} masks do not fit {num} pictures; give one, or one for each.")
    return found * num if len(found) == 1 else found


def as_batch(images: Sequence[Image.Image | NDArray[np.uint8]]) -> Tensor:
    """Pictures of one size as ``IMAGE``, whose bytes ComfyUI finds again."""
    together = np.stack([np.asarray(image, dtype=np.uint8) for image in images])
    return torch.from_numpy(np.divide(together, np.float32(255), dtype=np.float32))  # in one go: clips are large


def _bytes(values: Tensor) -> NDArray[np.uint8]:
    array: NDArray[np.uint8] = (
        (values.detach().cpu().float().nan_to_num().clamp(0, 1).numpy() * 255).round().astype(np.uint8)
    )
    return array
