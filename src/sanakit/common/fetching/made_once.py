"""Folders of the user's cache that are made once, checked whenever they are used, and made again where damaged."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sanakit.common.config import json_values
from sanakit.common.errors import DownloadError, OutputError
from sanakit.common.files import remove_stale, unwritten, write_json, written_aside
from sanakit.common.folders import alone_in
from sanakit.common.user_cache import cached_facts, file_stamp, recall, remember

CONTENTS = "source.json"  # what a folder was made of, and the SHA-256 of its files
_LARGE = 20_000_000  # bytes of a file whose digest is remembered; smaller ones are read each time

logger = logging.getLogger(__name__)


Known = Mapping[str, Mapping[str, str]]
"""SHA-256 by file, by what a folder says that it was made of: of folders made before these were written into them."""


def made_once(folder: Path, make: Callable[[Path], object], known: Known | None = None) -> Path:
    """``folder``, whole: as it was made, or made now.

    Of several processes one makes it and the others wait. What a killed one left beside it is removed.

    Args:
        make: fills an empty folder, and ends with ``seal``.

    Raises:
        OutputError: the cache cannot be written.
        SanakitError: what ``make`` raises; where the folder is damaged the sentence says so.
    """
    if fault_of(folder, known) is None:
        return folder
    with unwritten(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    with alone_in(folder.parent) as is_alone:
        if (fault := fault_of(folder, known)) is None:
            return folder  # another process has made it meanwhile
        if is_alone:
            _remove_half_built(folder)
        if was_there := folder.exists():
            logger.warning("%s is not as it was made (%s); it is made again", folder, fault)
        try:
            with written_aside(folder) as building:
                building.mkdir()
                make(building)
        except (DownloadError, OutputError) as error:
            if not was_there:
                raise
            raise type(error)(
                f"{folder} is not as it was made ({fault}), and could not be made again: {error}"
            ) from error
    return folder


def seal(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write ``source.json``: what the folder was made of, and the digest of every file in it."""
    digests = {name: file_digest(folder / name) for name in _files_in(folder)}
    write_json(folder / CONTENTS, {**facts, "sha256": digests})


def fault_of(folder: Path, known: Known | None = None, *, every_byte: bool = False) -> str | None:
    """What is wrong with a folder that ``made_once`` makes, in some words; None when it is whole.

    Args:
        every_byte: read large files too whose digest is remembered.
    """
    if not folder.is_dir():
        return "it is not there"
    try:
        content = json_values((folder / CONTENTS).read_bytes())
        expected = content.get("sha256") or (known or {}).get(content.get("source"), {})
        if not expected and ("sha256" in content or "source" not in content):
            return f"{CONTENTS} names no file"
        digests = {name: remembered_digest(folder / name, every_byte=every_byte) for name in expected}
        changed = [name for name, digest in expected.items() if digests[name] != digest]
        strangers = [name for name in _files_in(folder) if "sha256" in content and name not in expected]
    except FileNotFoundError as error:
        return f"{Path(str(error.filename)).name} is missing"
    except OSError as error:
        return f"{Path(str(error.filename)).name} cannot be read: {error.strerror}"
    except (ValueError, AttributeError, TypeError):
        return f"{CONTENTS} cannot be read"
    if strangers:
        return f"{strangers[0]} is no part of it"
    return f"{changed[0]} is not as it was written" if changed else None


def _files_in(folder: Path) -> list[str]:
    """All but the list of them, and those that desktops hide in every folder."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    return sorted(path.as_posix() for path in found if path.name != CONTENTS and not path.name.startswith("."))


def remembered_digest(path: Path, *, every_byte: bool = False) -> str:
    """SHA-256 of a file, in hex; of a large one remembered for as long as it is the same file, unless every byte is to
    be read now, which is then remembered."""
    stamp = file_stamp(path) if path.stat().st_size > _LARGE else None
    place = cached_facts("file-hashes", path)
    kept = recall(place) if stamp is not None and not every_byte else None
    if isinstance(kept, dict) and kept.get("stamp") == stamp:
        return str(kept.get("sha256"))
    digest = file_digest(path)
    if stamp is not None:
        remember(place, {"stamp": stamp, "sha256": digest})
    return digest


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove_half_built(folder: Path) -> None:
    """What processes that are no more were making, and what others left more than a day ago."""
    for path in folder.parent.glob(f".{folder.name}.*.part"):
        shutil.rmtree(path, ignore_errors=True)
    remove_stale(folder.parent)
