"""Readers that are networks: what is in a picture of the worlds, by a recogniser over frozen features."""
