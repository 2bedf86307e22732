"""SHA-256 of the files of a data set, kept in the user's cache so that a large one is not read whole each time."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from sanakit.common.errors import OutputError
from sanakit.common.files import write_json
from sanakit.common.user_cache import user_cache_folder
from sanakit.data.samples import DataSource

_log = logging.getLogger(__name__)


def recall_digests(source: DataSource) -> dict[str, str]:
    """Those of the last time by stamp; empty if there are none."""
    try:
        content = json.loads(_place(source).read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        _log.info("the files of %s are read anew: %s", source.path, error)
        return {}
    return content if isinstance(content, dict) else {}


def remember_digests(source: DataSource, digests: Mapping[str, str]) -> None:
    """A cache that cannot be written costs time only."""
    try:
        write_json(_place(source), digests, indent=None, ensure_ascii=True)
    except OutputError as error:
        _log.info("the digests of the files of %s are not kept: %s", source.path, error)


def _place(source: DataSource) -> Path:
    name = hashlib.sha256(os.fsencode(source.path.resolve())).hexdigest()[:32]
    return user_cache_folder() / "digests" / f"{name}.json"
