"""Clips as training data: a user's files and scenes in motion."""
