"""Dtypes in which sums are kept."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """The same numbers in float32, or as they are if that is wider."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
