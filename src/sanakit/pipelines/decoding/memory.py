"""How much memory a picture takes, predicted from the configs of a model's networks; and how much there is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import torch
from torch import nn

from sanakit.checkpoints.networks.kind import NoInitialValues
from sanakit.common.free_memory import free_memory, process_memory
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig
from sanakit.models.transformers.video_dit import VideoDiTConfig
from sanakit.models.transformers.video_dit2 import VideoDiT2Config
from sanakit.pipelines.decoding.tiling import Tiling

OWN_BYTES = 500_000_000  # of Python, torch and the text on its way

UPSCALING_TILE = 256  # pixels of the smaller picture a side, enlarged at once; larger ones miss the CPU's cache
_UPSCALING_PIXEL = 1_700  # bytes of such a pixel while it is enlarged: layers of 64 channels, then 3 * 4 * 4
_UPSCALING_CONTEXT = 32  # pixels around a tile, at most
_ENLARGED_PIXEL = 12  # bytes of a pixel of the larger picture: its levels, Pillow's copy in words of 4, its encoding
_UPSCALING_WEIGHTS = 2_500_000  # bytes, in float32

# Values that a tensor on an accelerator may hold: kernels of convolution and upsampling count them in 32 bits.
MAX_VALUES = 2**31 - 1

FreeMemory = Callable[[torch.device], "int | None"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSize:
    """What of a model decides how much memory a picture takes; ``dtype`` is the one that its transformer works in."""

    transformer: LinearDiTConfig
    autoencoder: DCAutoencoderConfig
    weights: Mapping[str, int]  # bytes by component
    dtype: torch.dtype

    def picture(
        self, height: int, width: int, *, rows: int = 2, tiling: Tiling | None = None, upscale: int = 1
    ) -> PictureMemory:
        """What pictures of ``height`` x ``width`` pixels take.

        Args:
            rows: of a call of the transformer: two a picture with guidance.
            tiling: in which a picture is decoded; None for all at once.
            upscale: how many times each side is enlarged afterwards.
        """
        factor = self.autoencoder.compression
        return PictureMemory(
            weights=self.weights,
            denoising=rows * denoising_bytes(self.transformer, (height // factor, width // factor), self.dtype),
            decoding=decoding_bytes(self.autoencoder, height, width, tiling),
            upscaling=upscaling_bytes(height, width, upscale),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureMemory:
    """Bytes: weights by component, and what a step of denoising, decoding and upscaling need, each for a moment."""

    weights: Mapping[str, int]
    denoising: int
    decoding: int
    upscaling: int = 0
    refining: Mapping[str, int] = field(default_factory=dict)  # what a refiner's networks need, by their names
    in_turns: bool = False  # the weights of one network at a time

    @property
    def total(self) -> int:
        """At the peak, with what the process itself takes."""
        later = {"transformer": self.denoising, "autoencoder": max(self.decoding, self.upscaling), **self.refining}
        if self.in_turns:
            return max(size + later.get(name, 0) for name, size in self.weights.items()) + OWN_BYTES
        return sum(self.weights.values()) + max(later.values()) + OWN_BYTES


def denoising_bytes(
    config: LinearDiTConfig | VideoDiTConfig | VideoDiT2Config, latent: Sequence[int], dtype: torch.dtype
) -> int:
    """Upper estimate of what one row of a step needs beside the weights, for a latent of so many rows and columns, of a
    clip with frames before them.

    The Mix-FFN decides: four tensors as wide as its inside, of which three and its input were seen alive at once.
    """
    patch = config.patch_size
    sides = patch if isinstance(patch, tuple) else (patch, patch)
    tokens = math.prod(side // of_token for side, of_token in zip(latent, sides, strict=True))
    return 4 * tokens * 2 * config.inner_size * dtype.itemsize


def decoding_bytes(config: DCAutoencoderConfig, height: int, width: int, tiling: Tiling | None = None) -> int:
    """Upper estimate of what decoding one picture needs beside the weights; in tiles, with the canvas they go onto."""
    if tiling is None:
        return config.decode_bytes(height, width)
    canvas = 3 * 3 * height * width * 4  # float32: the canvas, and its copies as it is cropped and rounded
    return config.decode_bytes(min(height, tiling.tile), min(width, tiling.tile)) + canvas


def upscaling_bytes(height: int, width: int, scale: int) -> int:
    """Upper estimate of what enlarging one picture of ``height`` x ``width`` pixels needs: weights, a tile with its
    context, and the larger picture. 0 where it is not enlarged."""
    if scale == 1:
        return 0
    tile_height, tile_width = (min(side, UPSCALING_TILE + 2 * _UPSCALING_CONTEXT) for side in (height, width))
    canvas = _ENLARGED_PIXEL * scale**2 * height * width
    return _UPSCALING_WEIGHTS + tile_height * tile_width * _UPSCALING_PIXEL + canvas


@lru_cache
def transformer_parameters(config: LinearDiTConfig) -> int:
    """Counted on a network without memory, of one block: they are all alike."""
    with torch.device("meta"), NoInitialValues():
        network = LinearDiT(replace(config, num_layers=1))
    return _count(network) + (config.num_layers - 1) * _count(network.blocks)


@lru_cache
def autoencoder_parameters(config: DCAutoencoderConfig) -> int:
    """Counted on a network without memory."""
    with torch.device("meta"), NoInitialValues():
        return _count(DCAutoencoder(config))


def measured_free_memory(device: torch.device) -> int | None:
    """Bytes that can still be had on ``device``, or ``None`` where nobody can tell."""
    if device.type == "cuda":
        kept_by_torch = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept_by_torch
    if device.type == "cpu":
        return free_memory()
    return None


def free_within(memory: int | None, device: torch.device) -> int | None:
    """Bytes that can still be had on ``device`` while the process stays within ``memory``, where that is given."""
    free, own = measured_free_memory(device), process_memory()
    if memory is None or device.type != "cpu" or own is None:
        return free
    return max(min(memory - own, memory if free is None else free), 0)


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
