"""Indexed tar shards in SANA's naming: reading by offset, sidecars, writing."""
