"""The same pipelines inside other programs."""
