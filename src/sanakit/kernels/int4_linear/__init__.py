"""Products of activations with weights of four bits that share a scale group by group."""

from sanakit.kernels.int4_linear.reference import INT4, NF4, four_bit_linear, four_bit_weight, pack_nibbles

__all__ = ["INT4", "NF4", "four_bit_linear", "four_bit_weight", "pack_nibbles"]
