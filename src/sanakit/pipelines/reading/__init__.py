"""Prompts as people write them, to the words that a model was trained on."""
