"""Weights of networks that annotate pictures."""
