"""What a model knows of the worlds: prompts with a known truth, pictures read back, one row per question."""
