"""Colours of picture files: what a picture is in sRGB."""
