"""How fast and how large the networks are: beside diffusers, and beside what the machine could do at most."""
