"""Judges of pictures beside a prompt: the reader of the worlds, scorers of similarity, models that answer yes or no."""
