"""A transformer by flow matching."""
