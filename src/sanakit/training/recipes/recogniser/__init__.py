"""Training the recogniser that reads pictures of the worlds."""
