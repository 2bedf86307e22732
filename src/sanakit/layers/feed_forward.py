"""Feed-forward layers of plain transformers, token by token, ``(..., C)`` to ``(..., C)``."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from sanakit.layers.linear import Linear


class GeluFFN(nn.Module):
    """Two linear maps with the tanh form of GELU between them, through ``inner_size`` channels."""

    def __init__(self, hidden_size: int, inner_size: int) -> None:
        super().__init__()
        self.expand = Linear(hidden_size, inner_size)
        self.project = Linear(inner_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(F.gelu(self.expand(x), approximate="tanh"))


class SwiGLU(nn.Module):
    """``project(silu(gate(x)) * expand(x))`` through ``inner_size`` channels (arXiv:2002.05202)."""

    def __init__(self, hidden_size: int, inner_size: int) -> None:
        super().__init__()
        self.gate, self.expand = Linear(hidden_size, inner_size), Linear(hidden_size, inner_size)
        self.project = Linear(inner_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(F.silu(self.gate(x)) * self.expand(x))
