"""A linear layer whose weights and inputs are NVFP4."""

from sanakit.kernels.nvfp4_linear.reference import nvfp4_linear, nvfp4_weight, round_to_nvfp4

__all__ = ["nvfp4_linear", "nvfp4_weight", "round_to_nvfp4"]
