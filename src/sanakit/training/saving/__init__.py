"""Checkpoints, and steps that are kept because a number was not finite."""
