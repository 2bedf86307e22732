"""Newton-Schulz iterations as Muon has them (Jordan et al., 2024)."""

from __future__ import annotations

import torch
from torch import Tensor

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # a, b, c of s <- a s + b s^3 + c s^5, steep at 0 and flat at 1
NUM_ITERATIONS = 5


def newton_schulz(x: Tensor) -> Tensor:
    """``U V^T`` of ``x = U S V^T``, ``(N, M)``, roughly: singular values end between about 0.7 and 1.2."""
    a, b, c = NEWTON_SCHULZ
    tall = x.shape[0] > x.shape[1]
    x = x.mT if tall else x
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(NUM_ITERATIONS):
        gram = x @ x.mT
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
