"""The version of sanakit: as the source says it, installed or not."""

__version__ = "0.2.0.dev0"
