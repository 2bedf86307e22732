"""Attention over depth: what a layer is given is a mixture of what earlier ones made (attention residuals)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sanakit.kernels.pixel_norm import rms_normalised


class DepthMix(nn.Module):
    """For every token a mean of several states ``(B, N, C)``, weighed by a softmax of ``weight . norm(state)``; it
    begins at zero, where all count the same.

    Source: SANA-Video 2.0 (NVlabs/Sana); Attention Residuals (Moonshot AI).
    """

    def __init__(self, hidden_size: int, *, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.zeros(1, hidden_size))

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        if len(states) == 1:
            return states[0]
        scores = [
            (rms_normalised(each, dim=-1, eps=self.eps).to(each.dtype) @ self.weight[0])[..., None] for each in states
        ]
        shares = torch.stack(scores).softmax(dim=0)  # (S, B, N, 1)
        return sum(share * each for share, each in zip(shares, states, strict=True))
