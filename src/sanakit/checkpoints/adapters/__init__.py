"""Adapters in files: read in every spelling, matched to a network's layers, written in diffusers'."""
