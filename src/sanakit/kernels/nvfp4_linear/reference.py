"""NVFP4 in plain PyTorch: what hardware with it computes, on any machine and without being quick.

A value is a 4-bit float (E2M1) times the scale of its block of 16 along the contraction, an 8-bit float (E4M3), times a
scale of the whole tensor in float32.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sanakit.kernels.int4_linear import levels_on

BLOCK = 16
MAGNITUDES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
LEVELS = (*MAGNITUDES, *(-each for each in MAGNITUDES))
"""What codes mean: the upper half is below 0."""
_LARGEST, _LARGEST_SCALE = MAGNITUDES[-1], 448.0
_MIDDLES = tuple((low + high) / 2 for low, high in pairwise(MAGNITUDES))


class Blocks(NamedTuple):
    """``codes`` from 0 to 15 ``(N, blocks, 16)``, ``scale (N, blocks)`` in E4M3, and ``whole``, a float32."""

    codes: Tensor
    scale: Tensor
    whole: Tensor


def round_to_nvfp4(x: Tensor) -> Blocks:
    """The nearest values of ``(N, K)``, of two as near the one whose last bit is 0; blocks are filled up with zeros."""
    blocks = F.pad(x.float(), (0, -x.shape[1] % BLOCK)).unflatten(1, (-1, BLOCK))  # (N, blocks, 16)
    whole = blocks.abs().amax() / (_LARGEST * _LARGEST_SCALE)
    tiny = torch.finfo(torch.float32).tiny
    scale = (blocks.abs().amax(dim=2) / (_LARGEST * whole.clamp_min(tiny))).to(torch.float8_e4m3fn)  # (N, blocks)
    divisor = (scale.float() * whole)[..., None]
    ratio = torch.where(divisor > 0, blocks / divisor.clamp_min(tiny), 0.0)
    return Blocks(_codes(ratio), scale, whole)


def _codes(ratio: Tensor) -> Tensor:
    middles, size = levels_on(_MIDDLES, ratio.device), ratio.abs()
    below, above = torch.bucketize(size, middles), torch.bucketize(size, middles, right=True)
    code = torch.where(below % 2 == 0, below, above)  # they differ at a middle alone
    return torch.where((ratio < 0) & (code > 0), code + 8, code)


def nvfp4_weight(blocks: Blocks, num_columns: int) -> Tensor:
    """``(N, num_columns)`` float32: what the blocks stand for."""
    values = levels_on(LEVELS, blocks.codes.device)[blocks.codes.int()]
    return (values * (blocks.scale.float() * blocks.whole)[..., None]).flatten(1)[:, :num_columns]


def nvfp4_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``(..., K)`` to ``(..., N)`` in ``x``'s dtype: inputs rounded, products summed in float32.

    The scale of inputs is that of a picture's tokens, the last two axes, and not of a call: company changes nothing.

    Args:
        weight: ``(N, K)`` float32, rounded already.
    """
    pictures = x.reshape(-1, *x.shape[-2:]) if x.ndim > 1 else x[None, None]  # (B, N, K)
    rounded = torch.cat([nvfp4_weight(round_to_nvfp4(part), part.shape[1]) for part in pictures])
    wide = None if bias is None else bias.float()
    return F.linear(rounded, weight, wide).to(x.dtype).view(*x.shape[:-1], -1)
