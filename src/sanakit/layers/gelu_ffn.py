"""The feed-forward layer of plain transformers: GELU between two linear maps, token by token."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from sanakit.layers.linear import Linear


class GeluFFN(nn.Module):
    """``(..., C)`` to ``(..., C)`` through ``inner_size`` channels, with the tanh form of GELU."""

    def __init__(self, hidden_size: int, inner_size: int) -> None:
        super().__init__()
        self.expand = Linear(hidden_size, inner_size)
        self.project = Linear(inner_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(F.gelu(self.expand(x), approximate="tanh"))
