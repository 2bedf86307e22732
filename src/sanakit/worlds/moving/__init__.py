"""Scenes in motion: what their things do, and where they are in every frame."""
