"""Recipes, and the loop that they run in."""
