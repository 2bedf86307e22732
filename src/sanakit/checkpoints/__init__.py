"""Weights in and out: folders, files, the names that others use, and what is known of each published model."""
