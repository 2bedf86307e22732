"""Numbers about sets of pictures, each with how it was measured."""
