"""A picture to its latent, whole or in tiles where memory is short."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from sanakit.common.errors import SanakitError
from sanakit.common.free_memory import is_out_of_memory
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.pipelines.decoding.decode import TILINGS, USABLE_SHARE
from sanakit.pipelines.decoding.memory import FreeMemory, decoding_bytes, measured_free_memory
from sanakit.pipelines.decoding.tiling import Tiling, encode_tiled

logger = logging.getLogger(__name__)


@torch.no_grad()
def encode_pixels(
    autoencoder: DCAutoencoder,
    pixels: Tensor,
    *,
    free_memory: FreeMemory = measured_free_memory,
    tilings: Sequence[Tiling] = TILINGS,
) -> Tensor:
    """Pixels ``(1, 3, H, W)`` in [-1, 1] to the scaled latent ``(1, C, h, w)``, float32 on the autoencoder's device.

    Undivided where what decoding would take is free, which encoding stays below; else in the largest tiles that fit.

    Raises:
        SanakitError: even the smallest tiles did not fit.
    """
    height, width = pixels.shape[-2:]
    device, free = autoencoder.device, free_memory(autoencoder.device)
    sizes = [None, *(tiling for tiling in tilings if tiling.tile < max(height, width))]
    needs = [decoding_bytes(autoencoder.config, height, width, size) for size in sizes]
    fits = (index for index, need in enumerate(needs) if free is None or need <= USABLE_SHARE * free)
    pixels = pixels.to(device, autoencoder.compute_dtype)
    for size in sizes[next(fits, len(sizes) - 1) :]:
        try:
            if size is None:
                return autoencoder.encode(pixels).float()
            return encode_tiled(autoencoder.encode, pixels, size, autoencoder.config.compression)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            logger.warning("encoding a picture of %dx%d px ran out of memory", width, height)
    raise SanakitError(
        f"a picture of {width}x{height} px could not be encoded in the memory that is free, even in small tiles; free "
        f"some memory or ask for a smaller size."
    )
