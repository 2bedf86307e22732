"""What a model is: its card, its hashes, its precision, what is known of the published ones."""
