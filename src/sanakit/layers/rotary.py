"""Rotary positions (RoFormer, arXiv:2104.09864): a channel's partner half a head away, as language models have them;
and of clips, where time, row and column share the channels of a head, or of all heads together."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import torch
import torch.nn.functional as F
from torch import Tensor

from sanakit.common.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class RotaryConfig:
    """Waves of ``2 pi theta^(i / D)`` tokens for even ``i``, stretched for texts longer than those of the training.

    With ``original_length`` (Llama 3.1) a wave that fits into it ``high`` times or more stays as it is, one that fits
    ``low`` times or fewer is stretched by all of ``factor``, and between these the frequencies are blended.
    """

    theta: float = 10_000.0
    factor: float = 1.0
    original_length: int | None = None  # tokens; None: all waves are stretched
    low: float = 1.0
    high: float = 4.0

    def __post_init__(self) -> None:
        if not (self.theta > 0 and self.factor > 0 and 0 < self.low < self.high):
            raise ConfigError(f"rotary positions need theta, factor > 0 and 0 < low < high, not {self}")

    def frequencies(self, head_dim: int) -> Tensor:
        """``(head_dim / 2,)`` float32, in radians a token."""
        original = 1.0 / self.theta ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
        if self.original_length is None:
            return original / self.factor
        times = self.original_length / (2 * pi / original)  # that a wave fits into it
        kept = ((times - self.low) / (self.high - self.low)).clamp(0, 1)
        return (1 - kept) * original / self.factor + kept * original


def turns(positions: Tensor, head_dim: int, config: RotaryConfig, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines, ``(L, head_dim)`` each, of the angles at ``positions``, ``(L,)``."""
    angles = positions[:, None].float() * config.frequencies(head_dim).to(positions.device)
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """``x``, ``(..., L, D)``, turned by its positions."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


def axis_sizes(head_dim: int) -> tuple[int, int, int]:
    """Channels of a head that tell of time, row and column; what does not divide evenly goes to time."""
    space = head_dim // 6 * 2
    return head_dim - 2 * space, space, space


def clip_turns(frames: Tensor, height: int, width: int, head_dim: int, *, theta: float = 10_000.0) -> Tensor:
    """``(T * height * width, head_dim / 2)`` complex128: what each pair of channels of a token is multiplied with.

    Args:
        frames: ``(T,)``, where the frames of tokens stand in their clip, from 0.
        height, width: of the grid of tokens.
        head_dim: an even number.
        theta: as of ``RotaryConfig``.

    Source: Wan (arXiv:2503.20314), SANA-Video (arXiv:2509.24695).
    """
    axes = (frames, *(torch.arange(side, device=frames.device) for side in (height, width)))
    angles = [
        place.double()[:, None] * theta ** -(torch.arange(0, size, 2, device=place.device).double() / size)
        for place, size in zip(axes, axis_sizes(head_dim), strict=True)
    ]
    grid = (len(frames), height, width)
    spread = [
        each.view(*(len(each) if axis == own else 1 for axis in range(3)), -1).expand(*grid, -1)
        for own, each in enumerate(angles)
    ]
    together = torch.cat(spread, dim=-1).flatten(0, 2)  # (T * H * W, D / 2)
    return torch.polar(torch.ones_like(together), together)


def shared_turns(places: Tensor, hidden_size: int, head_dim: int, *, theta: float = 10_000.0) -> Tensor:
    """``(..., heads, N, head_dim / 2)`` complex64: the same where the axes share the channels of all heads.

    An angle is ``(2 p - 1) theta^u pi / 2`` with ``u`` evenly from 0 to 1: frequency after frequency, each of all axes,
    behind as many channels as are left over, which do not turn. Frequencies and angles are rounded to float32, as in
    the training of the networks that have them: the largest angles are 1e-3 apart from exact ones.

    Args:
        places: ``(..., N, axes)`` float32, where tokens stand, 0 to 1 over what was trained on.
        hidden_size: channels of all heads, an even number.
        head_dim: channels of one, an even number.
        theta: the fastest wave is so many times the slowest.

    Source: LTX-2 (Lightricks).
    """
    axes = places.shape[-1]
    steps = torch.linspace(0.0, 1.0, hidden_size // (2 * axes), dtype=torch.float64, device=places.device)
    frequencies = (theta**steps * (pi / 2)).float()
    angles = ((2 * places - 1)[..., None, :] * frequencies[:, None]).flatten(-2)  # (..., N, frequencies * axes)
    angles = F.pad(angles, (hidden_size // 2 - angles.shape[-1], 0))
    whole = torch.polar(torch.ones_like(angles), angles)  # (..., N, C / 2)
    return whole.unflatten(-1, (-1, head_dim // 2)).transpose(-3, -2)


def turned(x: Tensor, turns: Tensor, *, halves: bool) -> Tensor:
    """``x`` ``(..., N, D)`` with every pair of channels turned, in its dtype: neighbours, or with ``halves`` a channel
    of the first half and its like of the second; ``turns`` are ``(..., N, D / 2)`` complex."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    pairs = wide.unflatten(-1, (2, -1)).mT.contiguous() if halves else wide.unflatten(-1, (-1, 2))
    moved = torch.view_as_real(torch.view_as_complex(pairs) * turns)
    return (moved.mT if halves else moved).flatten(-2).to(x.dtype)
