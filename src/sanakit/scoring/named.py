"""What is said of every network that looks at pictures."""

from __future__ import annotations

from typing import Protocol

from sanakit.worlds.reading.read_scene import Reader


class NamedNetwork(Protocol):
    """``name``, ``weights_hash`` (SHA-256 of the tensors, hex) and ``resize_rule`` stand beside every number made with
    it."""

    @property
    def name(self) -> str: ...

    @property
    def weights_hash(self) -> str: ...

    @property
    def resize_rule(self) -> str: ...


class NamedReader(Reader, NamedNetwork, Protocol):
    """Reads pictures of the worlds, and says by its name and weights who reads."""
