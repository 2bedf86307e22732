"""One file a group of stages: each makes a ``Case`` of the settings, and what it holds is let go after it."""
