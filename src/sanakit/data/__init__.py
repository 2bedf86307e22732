"""Data sets, captions and the scenes that the starter model is trained on."""
