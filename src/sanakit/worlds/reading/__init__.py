"""A picture back into a scene, without learned weights, and whether it shows what was asked for."""
