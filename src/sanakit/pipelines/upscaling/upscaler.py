"""What enlarges a picture: an interface, and the networks behind it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from sanakit.checkpoints.identity.hashing import hash_tensors
from sanakit.checkpoints.upscalers.real_esrgan import NAME, load_compact_upscaler, real_esrgan_folder
from sanakit.common.errors import RequestError
from sanakit.kernels.arithmetic import own_arithmetic
from sanakit.models.compact_upscaler import CompactUpscaler
from sanakit.pipelines.request import UPSCALES


@runtime_checkable
class Upscaler(Protocol):
    """Pixels ``(B, 3, H, W)`` float32 in [0, 1], on any device, to ``(B, 3, scale * H, scale * W)``, about [0, 1].

    ``name`` and ``hash`` say which one it is, to a person and to a record. ``reach`` is how many pixels of the input
    away a pixel still counts: so much context makes a tile equal to the whole; None where that is without end.
    """

    name: str
    hash: str
    scale: int
    reach: int | None

    def __call__(self, pixels: Tensor) -> Tensor: ...


class NetworkUpscaler:
    """A compact upscaler at its own scale, or at a lower one: then its output is reduced (bicubic).

    That is how realesr-animevideov3 is published for x2.
    """

    def __init__(self, network: CompactUpscaler, scale: int, *, name: str) -> None:
        own = network.config.scale
        if scale < 1 or own % scale:
            raise RequestError(f"{name} enlarges {own} times, which cannot be reduced to {scale} times without a rest")
        self.network, self.scale, self.name = network, scale, name
        self.hash = hash_tensors(network.state_dict())
        self.reach: int | None = network.config.reach + (scale < own)  # the reduction sees a little over its own pixels

    @torch.no_grad()
    @own_arithmetic()
    def __call__(self, pixels: Tensor) -> Tensor:
        """On the network's device; the result stays there."""
        enlarged = self.network(pixels.to(self.network.device, self.network.compute_dtype))
        if self.scale < self.network.config.scale:
            size = [self.scale * side for side in pixels.shape[-2:]]
            enlarged = F.interpolate(enlarged, size, mode="bicubic", align_corners=False)
        return enlarged


def load_upscaler(scale: int, device: torch.device | str = "cpu") -> Upscaler:
    """Real-ESRGAN's small upscaler, fetched into the user's cache when it is first asked for; kept in memory after.

    Args:
        scale: 2 or 4.

    Raises:
        RequestError: another scale.
        DownloadError: it is not on this machine and could not be fetched.
        CheckpointError: the cache is damaged.
    """
    check_scale(scale)
    return _loaded(real_esrgan_folder(), scale, str(device))


@lru_cache(maxsize=4)
def _loaded(folder: Path, scale: int, device: str) -> Upscaler:
    return NetworkUpscaler(load_compact_upscaler(folder).to(device), scale, name=NAME)


def check_scale(scale: int) -> None:
    """Raises ``RequestError`` unless pictures are offered that much larger."""
    if scale not in UPSCALES:
        raise RequestError(f"scale={scale} is not usable; it must be 2 or 4.")
