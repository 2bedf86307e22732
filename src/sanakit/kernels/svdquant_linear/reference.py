"""A linear layer of 4-bit weights and 4-bit activations with a low-rank branch, the formula in plain PyTorch."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sanakit.kernels.int4_linear.reference import INT4, four_bit_weight, levels_on

LARGEST = 7


class LowRank(NamedTuple):
    """What is beside the product in four bits: channels divided by ``smooth`` ``(K,)`` before they are rounded, and a
    branch ``x @ down.T @ up.T`` of the channels as they are, ``(rank, K)`` and ``(N, rank)``."""

    smooth: Tensor
    down: Tensor
    up: Tensor


def round_groups(rows: Tensor, group: int) -> Tensor:
    """Each group of channels of ``(rows, K)`` rounded to whole numbers from -7 to 7 times a scale of its own."""
    channels = rows.shape[-1]
    groups = F.pad(rows, (0, -channels % group)).unflatten(-1, (-1, group))  # (rows, groups, group)
    scale = groups.abs().amax(dim=-1, keepdim=True) / LARGEST
    whole = (groups / scale.clamp_min(torch.finfo(torch.float32).tiny)).round()
    return (whole * scale).flatten(-2)[..., :channels]


def svdquant_linear(x: Tensor, packed: Tensor, scale: Tensor, branch: LowRank, bias: Tensor | None = None) -> Tensor:
    """``round(x / smooth) @ weight.T + x @ down.T @ up.T + bias``; ``(..., K)`` to ``(..., N)`` in the dtype of ``x``.

    Args:
        packed, scale: as of ``four_bit_weight`` with the levels ``INT4``: what the low-rank branch leaves of
            ``weight * smooth``.

    Source: SVDQuant, arXiv:2411.05007, section 4.2.
    """
    weight = four_bit_weight(packed, scale, levels_on(INT4, x.device), x.shape[-1])  # (N, K)
    group = 2 * packed.shape[1] // scale.shape[1]
    wide = x.float()
    smoothed = (wide / branch.smooth.float()).reshape(-1, x.shape[-1])
    y = F.linear(round_groups(smoothed, group), weight).unflatten(0, x.shape[:-1])
    y = y + F.linear(F.linear(wide, branch.down.float()), branch.up.float())
    return (y if bias is None else y + bias).to(x.dtype)
