"""From prompts to what a network is told."""
