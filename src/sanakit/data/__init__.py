"""Data sets of any layout: opened, inspected, built, curated; the order of training."""
