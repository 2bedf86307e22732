"""The folder in which sanakit keeps what it has fetched or computed once for a user."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

from sanakit.common.errors import OutputError
from sanakit.common.files import write_json
from sanakit.common.paths import as_path

logger = logging.getLogger(__name__)


def user_cache_folder() -> Path:
    """``$SANAKIT_CACHE``, else ``$XDG_CACHE_HOME/sanakit``, else ``~/.cache/sanakit``."""
    if folder := os.environ.get("SANAKIT_CACHE"):
        return as_path(folder)
    return as_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "sanakit"


def cached_facts(kind: str, path: Path) -> Path:
    """Where what was found out about a file or folder is remembered, under a name that follows from its path."""
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
    return user_cache_folder() / kind / f"{name}.json"


def recall(place: Path) -> Any:
    """What ``remember`` wrote; None if there is nothing, or nothing that can be read."""
    try:
        return json.loads(place.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        logger.info("%s is not used: %s", place, error)
        return None


def remember(place: Path, facts: Any) -> None:
    """Keep plain values for the next time; a cache that cannot be written costs time only."""
    try:
        write_json(place, facts, indent=None, ensure_ascii=True)
    except OutputError as error:
        logger.info("nothing is remembered: %s", error)
