"""Many pictures of a prompt, of which the best stay."""
