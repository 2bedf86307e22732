"""Adapters: low-rank side paths of a network's layers, the same modules for training and for use."""
