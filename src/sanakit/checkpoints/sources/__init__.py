"""What a model source holds, and whether it is what its card says."""
