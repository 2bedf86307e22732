"""The SANA family of linear diffusion transformers: library, command line and server."""

__version__ = "0.1.0"
