"""How much memory decoding takes, and how much there is."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch

from sanakit.common.free_memory import free_memory
from sanakit.models.autoencoders.dc_ae import DCAutoencoderConfig

# Float32 values alive at the peak, per channel of a stage and pixel of its resolution, with the copies that CPU
# convolutions make of their input. Measured as growth of the resident memory with torch 2.13: residual stages 5.3 to
# 5.9, EfficientViT stages 29, upsampling 2 of its input and 2.3 of its output channels. Half precision is no
# cheaper there: its norms and convolutions widen (10.8 to 11.4 half values).
_PER_RES_CHANNEL = 6.0
_PER_VIT_CHANNEL = 32.0
_PER_UPSAMPLED_CHANNEL = 2.25
_PER_UPSAMPLE_OUTPUT = 2.5

# Values that a tensor on an accelerator may hold: kernels of convolution and upsampling count them in 32 bits.
MAX_VALUES = 2**31 - 1

FreeMemory = Callable[[torch.device], "int | None"]


def decode_bytes(config: DCAutoencoderConfig, height: int, width: int) -> int:
    """Upper estimate of the memory that decoding one ``height`` x ``width`` picture needs beside the weights."""
    per_pixel = 0.0
    for depth, stage in enumerate(config.decoder):
        per_channel = _PER_RES_CHANNEL if stage.block == "res" else _PER_VIT_CHANNEL
        values = per_channel * stage.channels if stage.num_blocks else 0.0
        per_pixel = max(per_pixel, values / 4**depth)
    for depth, (stage, deeper) in enumerate(pairwise(config.decoder)):
        channels = stage.channels if stage.num_blocks else config.in_channels  # without blocks: straight to pixels
        values = _PER_UPSAMPLED_CHANNEL * deeper.channels + _PER_UPSAMPLE_OUTPUT * channels
        per_pixel = max(per_pixel, values / 4**depth)
    return int(4 * per_pixel * height * width)


def largest_tensor(config: DCAutoencoderConfig, height: int, width: int) -> int:
    """Values in the largest single tensor of decoding one ``height`` x ``width`` picture."""
    per_pixel = 0.0
    for depth, stage in enumerate(config.decoder):
        channels = stage.channels * (8 if stage.block == "vit" else 1)  # 8: the inside of the Mix-FFN
        per_pixel = max(per_pixel, channels / 4**depth if stage.num_blocks else 0.0)
    if config.up == "interpolate":  # enlarges before the convolution takes channels away
        per_pixel = max([per_pixel, *(deeper.channels / 4**depth for depth, deeper in enumerate(config.decoder[1:]))])
    return int(per_pixel * height * width)


def measured_free_memory(device: torch.device) -> int | None:
    """Bytes that can still be had on ``device``, or ``None`` where nobody can tell."""
    if device.type == "cuda":
        kept_by_torch = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept_by_torch
    if device.type == "cpu":
        return free_memory()
    return None
