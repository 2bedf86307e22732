"""An autoencoder, stage by stage."""
