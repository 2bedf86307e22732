"""What is in a picture, by name and box, and what GenEval's rules make of it."""
