"""Latents of clips to frames, chunk by chunk, in memory that does not grow with the clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from sanakit.common.errors import DecodeMemoryError, OutputError, SanakitError
from sanakit.common.free_memory import is_out_of_memory
from sanakit.common.pixels import from_signed
from sanakit.models.autoencoders.clips import ClipAutoencoder
from sanakit.pipelines.clips.clip import GeneratedClip, describe_frames
from sanakit.pipelines.latent_file import SavedLatent
from sanakit.pipelines.resolution import resize_and_crop
from sanakit.pipelines.result import Output

SaveLatent = Callable[[], str]


def decode_clip(
    autoencoder: ClipAutoencoder, finished: SavedLatent, output: Output, save_latent: SaveLatent
) -> GeneratedClip:
    """A finished latent to a clip: in 8 bits for "pil", as float pixels for "np" and "tensor".

    Raises:
        DecodeMemoryError: it does not fit into memory; the latent was saved.
    """
    record, latent = finished.record, finished.latent
    try:
        if output != "pil":
            pixels = torch.cat([*decode_frames(autoencoder, finished)]).transpose(0, 1).contiguous()  # (3, T, H, W)
            if output == "tensor":
                return GeneratedClip(record=record, latent=latent, pixels=pixels)
            unit = (pixels.clamp(-1, 1) + 1) / 2
            return GeneratedClip(record=record, latent=latent, frames=unit.permute(1, 2, 3, 0).contiguous().numpy())
        frames = np.concatenate([np.stack(from_signed(chunk)) for chunk in decode_frames(autoencoder, finished)])
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise DecodeMemoryError(_farewell(finished, save_latent)) from error
    record = record.model_copy(update={"image": describe_frames(frames)})
    return GeneratedClip(record=record, latent=latent, frames=frames)


@torch.no_grad()
def decode_frames(autoencoder: ClipAutoencoder, finished: SavedLatent) -> Iterator[Tensor]:
    """Frames ``(t, 3, H, W)`` float32 on the CPU, of the size that was asked for, as they come.

    Raises:
        SanakitError: they hold values that are not numbers.
    """
    request = finished.record.request
    latent = finished.latent.to(autoencoder.device, autoencoder.compute_dtype)
    for chunk in autoencoder.decode_stream(latent):
        pixels = chunk[0].transpose(0, 1).to("cpu", torch.float32)  # (t, 3, H, W)
        if not pixels.isfinite().all():
            raise SanakitError(
                "the clip holds values that are not numbers; this happens when a model runs in a dtype that it was "
                "not made for, or with extreme guidance, so try float32 or a lower guidance_scale."
            )
        yield resize_and_crop(pixels, request.height, request.width)


def _farewell(finished: SavedLatent, save_latent: SaveLatent) -> str:
    request = finished.record.request
    lost = f"a clip of {request.width}x{request.height} px could not be decoded in the memory that is free"
    try:
        return f"{lost}; the finished latent is safe, so free some memory and run: sanakit decode {save_latent()}"
    except OutputError:
        return f"{lost}; free some memory or ask for a smaller size."
