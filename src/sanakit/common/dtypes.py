"""Dtypes in which sums are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def widened(tensor: Tensor) -> Tensor:
    """The same numbers in float32, or as they are if that is wider."""
    import torch  # here, so that the names of solvers are known without the seconds that torch takes

    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
