"""Errors, config, seeds, files: what every room may use."""
