"""The gated depth-wise convolution inside a Mix-FFN."""

from sanakit.kernels.mix_ffn.reference import gated_depthwise

__all__ = ["gated_depthwise"]
