"""Pictures as tensors, and what the frozen networks make of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sanakit.models.dc_ae import DCAutoencoder
from sanakit.models.text_encoder import TextEncoder

LATENT_DTYPE = torch.bfloat16
ENCODING = "bfloat16 autocast"  # a part of the key of every cached latent

_CPU_PIXELS, _GPU_PIXELS = 1 << 19, 1 << 23  # that go through the autoencoder at once
_TEXT_ROWS = 64


def to_pixels(pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Pictures ``(H, W, 3)`` of one size as ``(B, 3, H, W)`` float32 in [-1, 1], channels last."""
    stacked = torch.from_numpy(np.stack(pictures))
    return stacked.permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.no_grad()
def encode_pictures(
    autoencoder: DCAutoencoder, pictures: Sequence[NDArray[np.uint8]], device: torch.device | str
) -> Tensor:
    """Scaled latents ``(B, C, h, w)`` in bfloat16 on the CPU, of pictures of one size.

    Under bfloat16 autocast: half the time of float32, and the starter's pictures come out of it as well as before
    (26.35 dB either way). A picture's latent depends on those beside it in the last bit of bfloat16 alone.
    """
    autoencoder.to(device)
    height, width, _ = pictures[0].shape
    rows = rows_at_once(height, width, device)
    latents = []
    for start in range(0, len(pictures), rows):
        part = to_pixels(pictures[start : start + rows]).to(device)
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
            latents.append(autoencoder.encode(part).to("cpu", LATENT_DTYPE))
    return torch.cat(latents)


def rows_at_once(height: int, width: int, device: torch.device | str) -> int:
    """How many pictures of a size go through the autoencoder at once."""
    budget = _CPU_PIXELS if torch.device(device).type == "cpu" else _GPU_PIXELS
    return max(1, budget // (height * width))


def encode_texts(encoder: TextEncoder, texts: Sequence[str], device: torch.device | str) -> list[Tensor]:
    """The features of each text at its own length, ``(L, C)`` in the encoder's dtype on the CPU."""
    encoder.to(device)
    conditions = encoder.encode(texts, rows_per_call=_TEXT_ROWS)
    return [condition.embeds[0].cpu() for condition in conditions]
