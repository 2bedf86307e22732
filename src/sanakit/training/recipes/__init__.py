"""Everything that can be trained, one folder a kind."""
