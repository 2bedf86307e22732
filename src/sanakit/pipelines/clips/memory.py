"""How much memory decoding and refining a clip take, by trials of networks that compute nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from sanakit.checkpoints.refiner import CONNECTORS, REFINER, TEXT_ENCODER, UPSAMPLER, OpenedRefiner
from sanakit.models.autoencoders.clips import ClipAutoencoder
from sanakit.models.transformers.video_dit import VideoDiTConfig
from sanakit.models.transformers.video_dit2 import VideoDiT2Config
from sanakit.pipelines.decoding.memory import denoising_bytes
from sanakit.pipelines.decoding.tiling import Tiling
from sanakit.pipelines.decoding.trial import PeakMemory

Build = Callable[[Any], ClipAutoencoder]
"""An autoencoder of its config: its class."""

_SIDE = 8  # positions of the latent that is tried; bytes grow with their number
_LATENTS = 12  # of a clip, from its beginning to its end: more than a chunk of any; a longer one takes no more
_OF_INNER = 5  # tensors as wide as a feed-forward layer's inside at once: 3.1 were seen in float32, 4.8 in bfloat16
_RESIDENT = 1.4  # of that memory grows by more than the tensors: up to 1.38 times, measured on the CPU with torch 2.13


def clip_decoding_bytes(
    build: Build,
    config: Any,
    shape: tuple[int, int, int],
    dtype: torch.dtype,
    tiling: Tiling | None = None,
    *,
    kept: bool = True,
) -> int:
    """Upper estimate of what decoding one clip of ``shape`` ``(T, H, W)`` needs beside the weights: a chunk with what
    causal layers keep of those before, and the frames in 8 bits where they are ``kept``; in tiles, what
    one takes, and the frames that they are put together to."""
    frames, height, width = shape
    num_latents = (frames - 1) // config.temporal_compression + 1
    a_pixel = _bytes_of_a_pixel(build, config, num_latents, dtype)
    finished = 3 * frames * height * width if kept else 0
    if tiling is None:
        return int(a_pixel * height * width) + finished
    tile = min(height, tiling.tile) * min(width, tiling.tile)
    canvas = 2 * 3 * 4 * config.temporal_compression * height * width  # the frames of one position, and a copy
    return int(a_pixel * tile) + canvas + finished


def clip_step_bytes(
    config: VideoDiTConfig | VideoDiT2Config, latent: Sequence[int], max_tokens: int, dtype: torch.dtype
) -> int:
    """Upper estimate of what one row of a step needs beside the weights, for a latent of ``(T, h, w)``: as of pictures,
    with the keys and values of the longest prompt in every layer, and the states that later layers see.

    Blocks under 32 MiB stay with the C library for a while, so that of small clips more is resident than planned here.
    """
    kept = 2 * max_tokens * config.num_layers
    if isinstance(config, VideoDiT2Config):
        kept += config.num_states * math.prod(side // of for side, of in zip(latent, config.patch_size, strict=True))
    return denoising_bytes(config, latent, dtype) + kept * config.hidden_size * dtype.itemsize


def refining_bytes(refiner: OpenedRefiner, latent: tuple[int, ...], dtype: torch.dtype) -> dict[str, int]:
    """Upper estimate of what each network of a refiner needs beside its weights, for one latent of ``(T, h, w)`` as the
    model makes it and the longest text."""
    networks, config = refiner.parts.networks, refiner.config
    connectors = networks[CONNECTORS].config
    tokens = refiner.scale**2 * math.prod(latent)
    text = (1, connectors.max_tokens, connectors.caption_channels, connectors.num_states)
    shapes = {CONNECTORS: text, UPSAMPLER: (1, config.in_channels, *latent)}
    need = {
        name: _trial(networks[name].kind.build, networks[name].config, shape, dtype)
        for name, shape in shapes.items()
        if name in networks
    }
    need[TEXT_ENCODER] = 2 * math.prod(text) * dtype.itemsize  # the states of all layers, and those put together
    need[REFINER] = _OF_INNER * tokens * config.inner_size * dtype.itemsize
    return need


@lru_cache
def _trial(build: Callable[[Any], nn.Module], config: Any, shape: tuple[int, ...], dtype: torch.dtype) -> int:
    with torch.device("meta"):
        network, given = build(config).to(dtype), torch.empty(shape, dtype=dtype)
    with torch.no_grad(), PeakMemory(network) as memory:
        network(given)
    return int(_RESIDENT * memory.with_copies)


@lru_cache
def _bytes_of_a_pixel(build: Build, config: Any, num_latents: int, dtype: torch.dtype) -> float:
    with torch.device("meta"):
        network = build(config).to(dtype)
        latent = torch.empty(1, config.latent_channels, min(num_latents, _LATENTS), _SIDE, _SIDE, dtype=dtype)
    with torch.no_grad(), PeakMemory(network) as memory:
        for _ in network.decode_stream(latent):
            pass
    return _RESIDENT * memory.with_copies / (_SIDE * config.compression) ** 2
