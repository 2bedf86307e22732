"""Pictures that are changed: in parts, around their edges, or made larger by the model itself."""
