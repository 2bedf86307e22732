"""Prompt in, picture out: the pieces meet here."""
