"""Rollouts: pictures of the present policy, what rewards say of them, and micro-batches of both."""
