"""One file a kind of network: its names in every layout, its config, its shapes."""
