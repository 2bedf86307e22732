"""Softmax attention of many queries to a few keys that stay the same for many calls."""

from __future__ import annotations

from torch import Tensor

from sanakit.kernels.cross_attention import native, reference
from sanakit.kernels.cross_attention.folded import FoldedText, fold

__all__ = ["FoldedText", "attend", "fold"]


def attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """Softmax attention between projections; arguments are those of the reference, which takes what the native twin,
    float32 on the CPU, does not."""
    twin = native if native.fits(queries, keys, values, mask) else reference
    return twin.attend(queries, keys, values, mask)
