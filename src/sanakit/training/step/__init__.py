"""One step, and all that changes with it."""
