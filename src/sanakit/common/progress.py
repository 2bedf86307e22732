"""What long work tells about how far it is."""

from __future__ import annotations

from collections.abc import Callable

OnProgress = Callable[[int, int, str], None]
"""Is told (done, total, of what)."""


def no_progress(done: int, total: int, what: str) -> None:
    """Tells nobody."""
