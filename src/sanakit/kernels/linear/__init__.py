"""A linear layer over many tokens."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from sanakit.kernels.linear import native

__all__ = ["linear"]


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ weight.T + bias``: ``(B, ..., in)`` with ``(out, in)`` and ``(out,)`` to ``(B, ..., out)``.

    Frozen weights in float32 on the CPU, or in bfloat16 where it multiplies that, go to the native twin where that is
    here, everything else to torch, which is given its rows one after the other: it multiplies views in bfloat16 twelve
    times slower.
    """
    return native.linear(x, weight, bias) if native.fits(x, weight, bias) else F.linear(x.contiguous(), weight, bias)
