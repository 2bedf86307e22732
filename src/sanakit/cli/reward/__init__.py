"""The commands about rewards."""
