"""What the networks of a pipeline do while pictures are made."""
