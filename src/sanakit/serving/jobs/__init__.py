"""Long work that is remembered: accepted once, finished once, whatever happens to the process."""
