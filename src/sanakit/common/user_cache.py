"""The folder in which sanakit keeps what it has fetched or computed once for a user."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from pathlib import Path
from typing import Any

from sanakit.common.config import json_values
from sanakit.common.errors import OutputError
from sanakit.common.files import write_json
from sanakit.common.paths import as_path

logger = logging.getLogger(__name__)

_SETTLED_SECONDS = 2.0  # the coarsest clock of a file system that people use


def user_cache_folder() -> Path:
    """``$SANAKIT_CACHE``, else ``$XDG_CACHE_HOME/sanakit``, else ``~/.cache/sanakit``."""
    if folder := os.environ.get("SANAKIT_CACHE"):
        return as_path(folder)
    return as_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "sanakit"


def file_stamp(path: Path, place: str = "") -> str | None:
    """What stays the same as long as the bytes of a file, or of a ``place`` in it, do: its path, length, times and
    number on the disk. A file of the same length that was given the same date has another number or another time of
    its last change, which nobody can set.

    None where nothing can be remembered: it has gone, or was written so lately that another change would not show.
    """
    try:
        facts = path.stat()
    except OSError:
        return None
    if time.time() - max(facts.st_mtime, facts.st_ctime) < _SETTLED_SECONDS:
        return None
    return "|".join(map(str, (path.absolute(), place, *content_facts(facts))))


def content_facts(facts: os.stat_result) -> tuple[int, int, int, int]:
    """Of a file's status what changes with its bytes: length, time of writing and of change, number on the disk."""
    return facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino


def cached_facts(kind: str, path: Path) -> Path:
    """Where what was found out about a file or folder is remembered, under a name that follows from its path."""
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
    return user_cache_folder() / kind / f"{name}.json"


def recall(place: Path) -> Any:
    """What ``remember`` wrote; None if there is nothing, or nothing that can be read."""
    try:
        return json_values(place.read_bytes())
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
