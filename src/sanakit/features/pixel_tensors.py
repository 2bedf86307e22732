"""Pictures as tensors, and what the frozen networks make of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sanakit.common.devices import quick_autocast
from sanakit.common.pixels import Picture, to_signed
from sanakit.kernels.attention import usual_attention_kernels
from sanakit.models.autoencoders.clips import ClipAutoencoder
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.text.text_encoder import TextEncoder

LATENT_DTYPE = torch.bfloat16
# Parts of the keys of cached latents: what is done to a picture of a file, and to a painting of a scene.
EXACT, QUICK = "float32 in pairs", "bfloat16 autocast"
EXACT_TEXT = "alone"  # of the keys of a file's captions; those of scenes have nothing there

_CPU_PIXELS, _GPU_PIXELS = 1 << 19, 1 << 23  # that go through the autoencoder at once
_TEXT_ROWS = 64


@torch.no_grad()
def encode_pictures(
    autoencoder: DCAutoencoder, pictures: Sequence[Picture], device: torch.device | str, *, quick: bool = False
) -> Tensor:
    """Scaled latents ``(B, C, h, w)`` in bfloat16 on the CPU, of pictures of one size.

    In the dtype of the autoencoder, and on the CPU to the same bits whichever pictures go together: a picture alone is
    encoded twice side by side, since libraries multiply single rows by another kernel. So a cache that was filled in
    two goes is that of one go.

    Args:
        quick: under bfloat16 autocast where that is quick. It takes half the time, and pictures come out of it as well
            (within 0.05 dB), but a latent depends on its neighbours in the last bit of bfloat16.
    """
    autoencoder.to(device)
    height, width, _ = pictures[0].shape
    rows = rows_at_once(height, width, device)
    dtype = autoencoder.compute_dtype
    latents = []
    for start in range(0, len(pictures), rows):
        part = pictures[start : start + rows]
        pixels = to_signed([*part, part[0]] if len(part) == 1 else part).to(device, dtype)
        with quick_autocast(device, enabled=quick):
            latents.append(autoencoder.encode(pixels)[: len(part)].to("cpu", LATENT_DTYPE))
    return torch.cat(latents).contiguous()  # as they come out of the cache: kernels go by the order in memory, too


@torch.no_grad()
def encode_clips(
    autoencoder: ClipAutoencoder, clips: Sequence[NDArray[np.uint8]], device: torch.device | str, *, quick: bool = False
) -> Tensor:
    """Scaled latents ``(B, C, t, h, w)`` in bfloat16 on the CPU, of clips ``(T, H, W, 3)`` of one length and size; a
    picture is a clip of one frame.

    Each goes through the autoencoder by itself, so that it is the same to the bit whichever others there are, and in
    one piece, as long ones are few in training.

    Args:
        quick: see ``encode_pictures``.
    """
    autoencoder.to(device)
    latents = []
    for clip in clips:
        pixels = to_signed(list(clip)).transpose(0, 1)[None].to(device, autoencoder.compute_dtype)  # (1, 3, T, H, W)
        with quick_autocast(device, enabled=quick):
            latents.append(autoencoder.encode(pixels, at_once=len(clip)).to("cpu", LATENT_DTYPE))
    return torch.cat(latents).contiguous()


def rows_at_once(height: int, width: int, device: torch.device | str) -> int:
    """How many pictures of a size go through the autoencoder at once."""
    budget = _CPU_PIXELS if torch.device(device).type == "cpu" else _GPU_PIXELS
    return max(1, budget // (height * width))


def encode_texts(
    encoder: TextEncoder, texts: Sequence[str], device: torch.device | str, *, exact: bool = False
) -> list[Tensor]:
    """The features of each text at its own length, ``(L, C)`` in the encoder's dtype on the CPU.

    Texts of one number of tokens go together, which is several times faster and equal up to rounding.

    Args:
        exact: on the CPU every text is run by itself, as a prompt is, so that its features are the same to the bit
            whichever texts it is encoded with.
    """
    encoder.to(device)
    rows = 1 if torch.device(device).type == "cpu" and exact else _TEXT_ROWS
    with usual_attention_kernels():  # also in a thread beside a training step
        conditions = encoder.encode(texts, rows_per_call=rows)
    return [condition.embeds[0].cpu() for condition in conditions]


def cut_texts(encoder: TextEncoder, texts: Sequence[str]) -> list[str]:
    """Those whose ends the encoder does not read. Only long ones are looked at: a token has a byte at least."""
    long = (text for text in texts if len(text.encode("utf-8", "surrogatepass")) + 1 >= encoder.config.max_tokens)
    return [text for text in long if encoder.count_tokens(text).dropped]
