"""Modules a paper would name."""
