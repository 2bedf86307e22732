"""Pictures with exact truth: scenes that are drawn, and read back."""
