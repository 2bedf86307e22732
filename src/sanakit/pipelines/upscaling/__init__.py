"""Larger pictures from finished ones, whatever made them."""
