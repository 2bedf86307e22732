"""Plain values of a run: its config, its stages, where it is."""
