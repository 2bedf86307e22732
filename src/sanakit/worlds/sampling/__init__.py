"""Random scenes of a bank: what they hold, where it stands, and what is held out."""
