"""3-D models become things: read, rendered from many sides, named by a list."""
