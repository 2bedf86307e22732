"""Functions on tensors: a plain reference and, where it pays, a fast twin."""
