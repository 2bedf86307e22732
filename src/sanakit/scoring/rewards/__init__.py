"""Rewards: pictures beside their prompts to numbers that a model learns from."""
