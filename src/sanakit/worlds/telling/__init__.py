"""Scenes become words: plain and varied captions, long prompts, captions with one wrong word."""
