"""Adapters of a request: which files, how much of each, and the network that carries them."""
