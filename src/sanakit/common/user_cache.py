"""The folder in which sanakit keeps what it has fetched or computed once for a user."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache_folder() -> Path:
    """``$SANAKIT_CACHE``, else ``$XDG_CACHE_HOME/sanakit``, else ``~/.cache/sanakit``."""
    if folder := os.environ.get("SANAKIT_CACHE"):
        return Path(folder).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "sanakit"
