"""Distillation of a transformer for few steps."""
