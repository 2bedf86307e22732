"""Decoding that heals itself: tiles planned from free memory, the latent kept safe, smaller tiles after a failure."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from sanakit.common.errors import DecodeMemoryError, OutputError
from sanakit.common.free_memory import is_out_of_memory
from sanakit.models.autoencoders.bands import decode_in_bands
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig
from sanakit.pipelines.decoding.memory import MAX_VALUES, FreeMemory, measured_free_memory
from sanakit.pipelines.decoding.tiling import Bands, Tiling, decode_tiled

logger = logging.getLogger(__name__)

# From best to smallest: bands have no seams, and larger tiles have fewer.
BANDS = (Bands(rows=512), Bands(rows=256), Bands(rows=128))
TILINGS = (Tiling(tile=1024, stride=896), Tiling(tile=512, stride=448), Tiling(tile=256, stride=192))

USABLE_SHARE = 0.8  # of the free memory; the rest is for estimates that are off and for other programs
TIGHT_SHARE = 0.5  # a decode that needs more of the free memory than this might be killed without a word

SaveLatent = Callable[[], Path | str]
T = TypeVar("T")
SizeT = TypeVar("SizeT", Bands | Tiling | None, Tiling | None)


@torch.no_grad()  # tensors of inference mode could not be changed by the caller
def decode_latent(
    autoencoder: DCAutoencoder,
    latent: Tensor,
    *,
    save_latent: SaveLatent | None = None,
    free_memory: FreeMemory = measured_free_memory,
    tilings: Sequence[Bands | Tiling] = (*BANDS, *TILINGS),
) -> Tensor:
    """Latent ``(B, C, h, w)`` to pixels ``(B, 3, H, W)``, float32 on the CPU, about [-1, 1].

    Undivided when that fits into the free memory (and, on an accelerator, into its 32-bit indices: up to some 2900 px
    a side for SANA's), else in the largest bands or tiles that do; after an out-of-memory error in ever smaller ones.

    Args:
        autoencoder: whose dtype and device are used.
        latent: finished, scaled, any dtype and device.
        save_latent: writes the latent to a file and gives what `sanakit decode` is to be told; called before decoding
            when memory is tight and before giving up.
        free_memory: bytes free on a device; tests pass their own.
        tilings: what may be tried instead of the whole picture, largest first.

    Raises:
        DecodeMemoryError: even the smallest tiles did not fit; the message names the saved latent.
    """
    device = autoencoder.device
    latent = latent.to(device, autoencoder.compute_dtype)
    sizes = _attempts(latent, autoencoder.config, device, tilings)
    height, width = _pixels(latent, autoencoder, None)
    return in_fitting_size(
        partial(_decode, autoencoder, latent),
        [(size, latent.shape[0] * _need(latent, autoencoder, size)) for size in sizes],
        free=free_memory(device),
        save_latent=save_latent,
        what=f"a picture of {width}x{height} px",
    )


def in_fitting_size(
    decode: Callable[[SizeT], T],
    needs: Sequence[tuple[SizeT, int]],
    *,
    free: int | None,
    save_latent: SaveLatent | None,
    what: str,
) -> T:
    """Decode in the largest size that fits, and after an out-of-memory error in the next smaller ones.

    Args:
        decode: all of it in a size: bands, tiles, or None for undivided.
        needs: the sizes with their bytes, largest first.
        free: bytes; None where nobody can tell.
        save_latent: as of ``decode_latent``.
        what: is decoded, in sentences.

    Raises:
        DecodeMemoryError: even the smallest did not fit; the message names the saved latent.
    """
    room = math.inf if free is None else free
    saved = kept_or_none(save_latent) if needs[0][1] > TIGHT_SHARE * room else None
    fitting = (index for index, (_, need) in enumerate(needs) if need <= USABLE_SHARE * room)
    for size, _ in needs[next(fitting, len(needs) - 1) :]:
        try:
            return decode(size)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            logger.warning("decoding %s ran out of memory; trying smaller tiles", _name(size, what))
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    raise DecodeMemoryError(_farewell(saved or kept_or_none(save_latent), what))


def _attempts(
    latent: Tensor, config: DCAutoencoderConfig, device: torch.device, tilings: Sequence[Bands | Tiling]
) -> list[Bands | Tiling | None]:
    """The whole picture (``None``), then the bands and tilings that divide it at all.

    A picture of 4096 px is never decoded whole on an accelerator, however much memory it has: the tensors are too
    long for its kernels, which refuse them or count wrongly.
    """
    height, width = (side * config.compression for side in latent.shape[-2:])
    dividing = [
        each
        for each in tilings
        if (config.in_bands and each.rows < height if isinstance(each, Bands) else each.tile < max(height, width))
    ]
    too_long = device.type != "cpu" and latent.shape[0] * config.largest_tensor(height, width) > MAX_VALUES
    return [*dividing] if too_long and dividing else [None, *dividing]


def _pixels(latent: Tensor, autoencoder: DCAutoencoder, tiling: Tiling | None) -> tuple[int, int]:
    """Largest height and width decoded in one go."""
    height, width = (side * autoencoder.config.compression for side in latent.shape[-2:])
    return (height, width) if tiling is None else (min(height, tiling.tile), min(width, tiling.tile))


def _need(latent: Tensor, autoencoder: DCAutoencoder, size: Bands | Tiling | None) -> int:
    """Bytes for one picture."""
    if isinstance(size, Bands):
        return autoencoder.config.band_bytes(*_pixels(latent, autoencoder, None), size.rows)
    return autoencoder.config.decode_bytes(*_pixels(latent, autoencoder, size))


def _decode(autoencoder: DCAutoencoder, latent: Tensor, tiling: Bands | Tiling | None) -> Tensor:
    if tiling is None:
        return autoencoder.decode(latent).to("cpu", torch.float32)
    logger.info("decoding in %s", _name(tiling, ""))
    if isinstance(tiling, Bands):
        return decode_in_bands(autoencoder, latent, tiling.rows)
    return decode_tiled(autoencoder.decode, latent, tiling, autoencoder.config.compression)


def kept_or_none(save_latent: SaveLatent | None) -> Path | str | None:
    """A full disk must not keep us from trying to decode."""
    if save_latent is None:
        return None
    try:
        return save_latent()
    except OutputError as error:
        logger.warning("could not save the finished latent: %s", error)
        return None


def _name(tiling: Bands | Tiling | None, what: str) -> str:
    if isinstance(tiling, Bands):
        return f"bands of {tiling.rows} rows"
    return f"{what} undivided" if tiling is None else f"tiles of {tiling.tile} px every {tiling.stride} px"


def _farewell(saved: Path | str | None, what: str) -> str:
    lost = f"{what} could not be decoded in the memory that is free, even in small tiles"
    if saved is None:
        return f"{lost}; free some memory or ask for a smaller size."
    return f"{lost}; the finished latent is safe, so free some memory and run: sanakit decode {saved}"
