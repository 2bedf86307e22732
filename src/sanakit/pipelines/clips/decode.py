"""Latents of clips to frames, chunk by chunk in memory that does not grow with the clip, or where that is short, tile
by tile."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sanakit.common.errors import OutputError, SanakitError
from sanakit.common.pixels import from_signed, to_signed
from sanakit.models.autoencoders.clips import ClipAutoencoder
from sanakit.pipelines.clips.clip import GeneratedClip
from sanakit.pipelines.clips.memory import clip_decoding_bytes
from sanakit.pipelines.clips.passing import describe_frames
from sanakit.pipelines.clips.place import ClipPlace
from sanakit.pipelines.clips.tiles import decode_in_tiles
from sanakit.pipelines.decoding.decode import TILINGS, SaveLatent, in_fitting_size, kept_or_none
from sanakit.pipelines.decoding.memory import FreeMemory, measured_free_memory
from sanakit.pipelines.decoding.tiling import Tiling
from sanakit.pipelines.latent_file import SavedLatent
from sanakit.pipelines.request import VideoRequest
from sanakit.pipelines.resolution import resize_and_crop
from sanakit.pipelines.result import Output


def decode_clip(
    autoencoder: ClipAutoencoder,
    finished: SavedLatent,
    output: Output,
    save_latent: SaveLatent,
    free_memory: FreeMemory = measured_free_memory,
    place: ClipPlace | None = None,
) -> GeneratedClip:
    """A finished latent to a clip: in 8 bits for "pil", as float pixels for "np" and "tensor"; undivided where that
    fits into the free memory, as pictures are.

    Args:
        place: where frames are written as they come; none is kept then.

    Raises:
        DecodeMemoryError: it does not fit into memory; the latent was saved.
        OutputError: it could not be written; the latent was saved.
    """
    config = autoencoder.config
    height, width = (side * config.compression for side in finished.latent.shape[-2:])
    shape = (_num_frames(autoencoder, finished.latent), height, width)
    sizes = [None, *(tiling for tiling in TILINGS if tiling.tile < max(height, width))]
    need = partial(clip_decoding_bytes, type(autoencoder), config, shape, autoencoder.compute_dtype)
    decode = partial(_decode, output=output) if place is None else partial(_write, place)
    try:
        return in_fitting_size(
            lambda tiling: decode(finished, decode_frames(autoencoder, finished, tiling)),
            [(size, need(size, kept=place is None)) for size in sizes],
            free=free_memory(autoencoder.device),
            save_latent=save_latent,
            what=f"a clip of {shape[0]} frames of {width}x{height} px",
        )
    except OutputError as error:
        if (kept := kept_or_none(save_latent)) is None:
            raise
        told = f"{error}; the finished latent is safe, so make room and run: sanakit decode {kept}"
        raise OutputError(told) from error


def _write(place: ClipPlace, finished: SavedLatent, chunks: Iterator[Tensor]) -> GeneratedClip:
    file, record = place.write(_in_8_bits(chunks), finished.record)
    return GeneratedClip(record=record, latent=finished.latent, file=file)


def _decode(finished: SavedLatent, chunks: Iterator[Tensor], *, output: Output) -> GeneratedClip:
    record, latent = finished.record, finished.latent
    assert isinstance(record.request, VideoRequest)
    if output != "pil":
        pixels = torch.cat([*chunks]).transpose(0, 1).contiguous()  # (3, T, H, W)
        if output == "tensor":
            return GeneratedClip(record=record, latent=latent, pixels=pixels)
        unit = (pixels.clamp(-1, 1) + 1) / 2
        return GeneratedClip(record=record, latent=latent, frames=unit.permute(1, 2, 3, 0).contiguous().numpy())
    frames = np.empty((0, 0, 0, 3), np.uint8)
    for index, frame in enumerate(_in_8_bits(chunks)):
        frames = frames if index else np.empty((record.request.frames_in_all, *frame.shape), np.uint8)
        frames[index] = frame
    record = record.model_copy(update={"image": describe_frames(frames)})
    return GeneratedClip(record=record, latent=latent, frames=frames)


def _in_8_bits(chunks: Iterator[Tensor]) -> Iterator[NDArray[np.uint8]]:
    """Frames ``(H, W, 3)`` of chunks ``(t, 3, H, W)``."""
    return (frame for chunk in chunks for frame in from_signed(chunk))


def _num_frames(autoencoder: ClipAutoencoder, latent: Tensor) -> int:
    """Of the clip of ``(B, C, t, h, w)``."""
    return 1 + (latent.shape[2] - 1) * autoencoder.config.temporal_compression


@torch.no_grad()
def decode_frames(
    autoencoder: ClipAutoencoder, finished: SavedLatent, tiling: Tiling | None = None
) -> Iterator[Tensor]:
    """Frames ``(t, 3, H, W)`` float32 on the CPU, of the size that was asked for, as they come; those of a clip that is
    extended before them.

    Raises:
        SanakitError: they hold values that are not numbers.
        RequestError: the clip that is extended is not here.
    """
    request, scale = finished.record.request, finished.record.refined_scale
    size = [side and scale * side for side in (request.height, request.width)]
    before = request.excerpt if isinstance(request, VideoRequest) and request.extend else None
    if before is not None:
        made = [side * autoencoder.config.compression for side in finished.latent.shape[-2:]]
        yield from (resize_and_crop(to_signed([frame]), *size) for frame in before.fitted(*made))
    latent = finished.latent.to(autoencoder.device, autoencoder.compute_dtype)
    for chunk in _chunks(autoencoder, latent, tiling):
        pixels = chunk[0].transpose(0, 1).to("cpu", torch.float32)  # (t, 3, H, W)
        if not pixels.isfinite().all():
            raise SanakitError(
                "the clip holds values that are not numbers; this happens when a model runs in a dtype that it was "
                "not made for, or with extreme guidance, so try float32 or a lower guidance_scale."
            )
        yield resize_and_crop(pixels if before is None else pixels[1:], *size)
        before = None  # whose last frame was the first of the latent


def _chunks(autoencoder: ClipAutoencoder, latent: Tensor, tiling: Tiling | None) -> Iterator[Tensor]:
    """``(B, 3, t, H, W)`` from the first frame to the last; of tiles, once all are there."""
    return autoencoder.decode_stream(latent) if tiling is None else decode_in_tiles(autoencoder, latent, tiling)
