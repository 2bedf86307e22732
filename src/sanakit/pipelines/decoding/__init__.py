"""Finished latents to pixels, in the memory that there is; and how much a model takes."""
