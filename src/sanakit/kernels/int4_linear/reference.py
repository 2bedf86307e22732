"""A linear layer whose weights are four bits each, the formula in plain PyTorch."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

INT4 = tuple(float(level) for level in range(-8, 8))
NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
"""Quantiles of a normal distribution with 0 among them (QLoRA, arXiv:2305.14314, appendix E)."""


@cache
def levels_on(levels: tuple[float, ...], device: torch.device) -> Tensor:
    """``(16,)`` float32, made once a device: to make it is to wait for a GPU."""
    with torch.inference_mode(False):
        return torch.tensor(levels, device=device)


def pack_nibbles(codes: Tensor) -> Tensor:
    """``(N, K)`` whole numbers from 0 to 15, ``K`` even, to ``(N, K / 2)`` uint8: the even ones in the lower halves."""
    codes = codes.to(torch.uint8)
    return codes[:, 0::2] | (codes[:, 1::2] << 4)


def unpack_nibbles(packed: Tensor) -> Tensor:
    """``(N, K / 2)`` uint8 to ``(N, K)`` uint8 from 0 to 15."""
    return torch.stack([packed & 15, packed >> 4], dim=-1).flatten(1)


def four_bit_weight(packed: Tensor, scale: Tensor, levels: Tensor, in_features: int) -> Tensor:
    """The weights that four bits stand for: the level of each times the scale of its group.

    Args:
        packed: ``(N, groups * group / 2)`` uint8; the last group may go beyond ``in_features``.
        scale: ``(N, groups)``.
        levels: ``(16,)`` float32, what each code means.

    Returns:
        ``(N, in_features)`` float32.
    """
    values = levels[unpack_nibbles(packed).int()].unflatten(1, (scale.shape[1], -1))  # (N, groups, group)
    return (values * scale.float()[..., None]).flatten(1)[:, :in_features]


def four_bit_linear(x: Tensor, packed: Tensor, scale: Tensor, levels: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ weight.T + bias`` with the weight of ``four_bit_weight``; ``(..., K)`` to ``(..., N)`` in ``x``'s dtype."""
    return F.linear(x, four_bit_weight(packed, scale, levels, x.shape[-1]).to(x.dtype), bias)
