"""The loop, the average of weights, the objectives."""
