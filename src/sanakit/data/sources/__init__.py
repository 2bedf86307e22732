"""Readers of the layouts in which people keep pictures with captions."""
