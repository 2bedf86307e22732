"""Products in four bits with a low-rank branch beside them."""

from sanakit.kernels.svdquant_linear.reference import LowRank, round_groups, svdquant_linear

__all__ = ["LowRank", "round_groups", "svdquant_linear"]
