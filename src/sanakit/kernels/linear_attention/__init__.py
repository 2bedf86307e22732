"""ReLU linear attention."""

from sanakit.kernels.linear_attention.reference import linear_attention

__all__ = ["linear_attention"]
