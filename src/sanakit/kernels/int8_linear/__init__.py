"""Products of int8 weights with activations that are rounded to int8 row by row."""

from sanakit.kernels.int8_linear.products import products_on
from sanakit.kernels.int8_linear.reference import int8_linear

__all__ = ["int8_linear", "products_on"]
