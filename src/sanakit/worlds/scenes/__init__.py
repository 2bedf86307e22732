"""Scenes of known things: words, captions, arrangement, drawing."""
