"""Layers of clips that may be given chunk by chunk: they see no later frame, or wait for those that they see."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ClipMemory:
    """What layers keep of the frames before a chunk: as much after a minute as after two chunks.

    A new one stands at the beginning of a clip. With ``ends`` no frame comes behind a chunk, and none waits any more.
    """

    def __init__(self) -> None:
        self.ends = False
        self._kept: dict[nn.Module, Tensor] = {}
        self._begun: set[nn.Module] = set()

    def begins(self, layer: nn.Module) -> bool:
        """Whether it is the first time that the layer asks, at the beginning of a clip."""
        first = layer not in self._begun
        self._begun.add(layer)
        return first

    def has_begun(self, layer: nn.Module) -> bool:
        """Whether the layer has seen frames of this clip."""
        return layer in self._kept

    def before(self, layer: nn.Module, x: Tensor, frames: int, *, copies: bool = False) -> Tensor:
        """``x`` ``(B, C, T, H, W)`` behind the last ``frames`` that the layer saw; at the beginning of a clip these are
        zeros, or copies of its first frame. Then the last of ``x`` are kept."""
        kept = self._kept.get(layer)
        if kept is None:
            first = x[:, :, :1].expand(-1, -1, frames, -1, -1)
            kept = first if copies else torch.zeros_like(first)
        whole = torch.cat([kept, x], dim=2) if frames else x
        self._kept[layer] = whole[:, :, whole.shape[2] - frames :].clone()
        return whole

    def around(self, layer: nn.Module, x: Tensor) -> Tensor:
        """``x`` ``(B, C, T, H, W)`` behind the last two frames that the layer saw, so that each but the outer ones has
        a frame on either side; beyond a clip stand copies of its first and last. The last waits for the next chunk."""
        kept = self._kept.pop(layer, x[:, :, :1])
        whole = torch.cat([kept, x, x[:, :, -1:]] if self.ends else [kept, x], dim=2)
        if not self.ends and whole.shape[2]:
            self._kept[layer] = whole[:, :, -2:].clone()
        return whole

    def in_step(self, layer: nn.Module, x: Tensor, frames: int) -> Tensor:
        """The first ``frames`` of those that the layer was given, ``x`` ``(B, C, T, H, W)`` the latest, and has not
        given back; for a path beside one whose layers wait."""
        whole = torch.cat([self._kept.pop(layer), x], dim=2) if layer in self._kept else x
        if frames < whole.shape[2]:
            self._kept[layer] = whole[:, :, frames:].clone()
        return whole[:, :, :frames]

    @property
    def num_bytes(self) -> int:
        """Of all that is kept."""
        return sum(kept.nbytes for kept in self._kept.values())


class CausalConv3d(nn.Conv3d):
    """A convolution whose kernel ends at the frame itself; frames before a clip are zeros, and so is what is around
    one."""

    def __init__(self, in_channels: int, out_channels: int, kernel: tuple[int, int, int]) -> None:
        super().__init__(in_channels, out_channels, kernel, padding=(0, kernel[1] // 2, kernel[2] // 2))

    def forward(self, x: Tensor, memory: ClipMemory) -> Tensor:  # type: ignore[override]
        """``(B, C, T, H, W)`` to as many frames of the same size."""
        reach = self.kernel_size[0] - 1
        return super().forward(memory.before(self, x, reach) if reach else x)


class ChannelRMSNorm(nn.Module):
    """``x / rms(x) * gamma`` over the channels of every pixel, ``(B, C, ...)``, with ``axes`` behind the channels.

    Source: the norm of Wan's autoencoder, arXiv:2503.20314.
    """

    def __init__(self, channels: int, *, axes: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels, *[1] * axes))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        return F.normalize(wide, dim=1).to(x.dtype) * (len(self.gamma) ** 0.5 * self.gamma)


def by_frame(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a layer of pictures to every frame of ``(B, C, T, H, W)``."""
    y = layer(x.transpose(1, 2).flatten(0, 1))  # (B * T, C, H, W)
    return y.unflatten(0, (len(x), -1)).transpose(1, 2)
