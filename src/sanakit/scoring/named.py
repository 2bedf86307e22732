"""What is said of every network that looks at pictures."""

from __future__ import annotations

from typing import Protocol


class NamedNetwork(Protocol):
    """``name``, ``weights_hash`` (SHA-256 of the tensors, hex) and ``resize_rule`` stand beside every number made with
    it."""

    @property
    def name(self) -> str: ...

    @property
    def weights_hash(self) -> str: ...

    @property
    def resize_rule(self) -> str: ...
