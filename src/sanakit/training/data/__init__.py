"""The data of a stage: files of a user, or the scenes of the starter, as micro-batches by number."""
