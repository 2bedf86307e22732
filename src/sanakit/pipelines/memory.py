"""How much memory a picture takes, predicted from the configs of a model's networks; and how much there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import nn

from sanakit.common.free_memory import free_memory
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig
from sanakit.pipelines.tiling import Tiling

OWN_BYTES = 500_000_000  # of Python, torch and the text on its way

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

    def picture(self, height: int, width: int, *, rows: int = 2, tiling: Tiling | None = None) -> PictureMemory:
        """What pictures of ``height`` x ``width`` pixels take.

        Args:
            rows: of a call of the transformer: two a picture with guidance.
            tiling: in which a picture is decoded; None for all at once.
        """
        factor = self.autoencoder.compression
        return PictureMemory(
            weights=self.weights,
            denoising=rows * denoising_bytes(self.transformer, height // factor, width // factor, self.dtype),
            decoding=decoding_bytes(self.autoencoder, height, width, tiling),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureMemory:
    """Bytes: weights by component, what a step of denoising needs for a moment, and what decoding does."""

    weights: Mapping[str, int]
    denoising: int
    decoding: int

    @property
    def total(self) -> int:
        """At the peak, with what the process itself takes."""
        return sum(self.weights.values()) + max(self.denoising, self.decoding) + OWN_BYTES


def denoising_bytes(config: LinearDiTConfig, height: int, width: int, dtype: torch.dtype) -> int:
    """Upper estimate of what one row of a step needs beside the weights, for a latent of ``height`` x ``width``.

    The Mix-FFN decides: four tensors as wide as its inside, of which three and its input were seen alive at once.
    """
    tokens = (height // config.patch_size) * (width // config.patch_size)
    return 4 * tokens * 2 * config.inner_size * dtype.itemsize


def decoding_bytes(config: DCAutoencoderConfig, height: int, width: int, tiling: Tiling | None = None) -> int:
    """Upper estimate of what decoding one picture needs beside the weights; in tiles, with the canvas they go onto."""
    if tiling is None:
        return config.decode_bytes(height, width)
    canvas = 3 * 3 * height * width * 4  # float32: the canvas, and its copies as it is cropped and rounded
    return config.decode_bytes(min(height, tiling.tile), min(width, tiling.tile)) + canvas


@lru_cache
def transformer_parameters(config: LinearDiTConfig) -> int:
    """Counted on a network without memory, of one block: they are all alike."""
    with torch.device("meta"):
        network = LinearDiT(replace(config, num_layers=1))
    return _count(network) + (config.num_layers - 1) * _count(network.blocks)


@lru_cache
def autoencoder_parameters(config: DCAutoencoderConfig) -> int:
    """Counted on a network without memory."""
    with torch.device("meta"):
        return _count(DCAutoencoder(config))


def measured_free_memory(device: torch.device) -> int | None:
    """Bytes that can still be had on ``device``, or ``None`` where nobody can tell."""
    if device.type == "cuda":
        kept_by_torch = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept_by_torch
    if device.type == "cpu":
        return free_memory()
    return None


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
