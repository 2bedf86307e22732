"""A reader that a report can name."""

from __future__ import annotations

from typing import Protocol

from sanakit.scoring.named import NamedNetwork
from sanakit.worlds.reading.read_scene import Reader


class NamedReader(Reader, NamedNetwork, Protocol):
    """Reads pictures, and says by its name and weights who reads."""
