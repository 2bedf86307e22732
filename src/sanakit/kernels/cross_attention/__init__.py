"""Softmax attention of many queries to a few keys that stay the same for many calls."""

from sanakit.kernels.cross_attention.folded import FoldedText, fold
from sanakit.kernels.cross_attention.reference import attend

__all__ = ["FoldedText", "attend", "fold"]
