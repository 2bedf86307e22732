"""Paths as people write them."""

from __future__ import annotations

import os
from pathlib import Path


def as_path(name: str | Path) -> Path:
    """The path that is meant: ``~`` at its start is a home folder, which a shell says only where nothing is before it
    (``--output=~/x`` and quotes keep it). A ``~name`` of nobody stays as it is."""
    return Path(os.path.expanduser(name))
