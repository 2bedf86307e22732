"""The feed-forward layer with a gate: ``project(silu(gate(x)) * expand(x))`` (SwiGLU, arXiv:2002.05202)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from sanakit.layers.linear import Linear


class SwiGLU(nn.Module):
    """``(..., C)`` to ``(..., C)`` through ``inner_size`` channels."""

    def __init__(self, hidden_size: int, inner_size: int) -> None:
        super().__init__()
        self.gate, self.expand = Linear(hidden_size, inner_size), Linear(hidden_size, inner_size)
        self.project = Linear(inner_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(F.silu(self.gate(x)) * self.expand(x))
