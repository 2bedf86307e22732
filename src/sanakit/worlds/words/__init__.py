"""The words of a world as one table, which travels with the model that was trained on it."""
