"""Files and folders that are whole or not there: written beside their place, renamed when finished."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from sanakit.common.errors import OutputError, RequestError

_ASIDE = ".part"
_STALE_SECONDS = 86_400.0


class NotNeededError(Exception):
    """Raised inside ``written_aside``: the block ends well, and its file is thrown away."""


@contextmanager
def written_aside(target: Path, *, force: bool = True, sync: bool = False, locked: bool = False) -> Iterator[Path]:
    """A path to write one file or folder to, which takes the place of ``target`` when the block ends well.

    Args:
        force: replace what is there.
        sync: have it on the disk before it is renamed, so that a power failure leaves no empty file under a good name.
        locked: for one file that a second process must not write meanwhile. What a killed process left is written
            over by the next one; without a lock each process writes to a place of its own.

    Raises:
        RequestError: ``target`` exists and ``force`` is not set.
        OutputError: the disk is full, the place cannot be written, or another process is writing; ``target`` is as it
            was and nothing is left beside it.
    """
    if not force and target.exists():
        raise RequestError(f"{target} exists already; choose another name, or force it to be replaced")
    with suppress(NotNeededError), unwritten(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked_place(target) if locked else _own_place(target) as building:
            yield building
            put_in_place(building, target, sync=sync)


@contextmanager
def unwritten(place: Path) -> Iterator[None]:
    """The system's errors inside come out as one sentence: an ``OutputError`` that names the place."""
    try:
        yield
    except Exception as error:
        if (reason := _reason_of_the_system(error)) is None:
            raise
        raise OutputError(f"{place} could not be written ({reason})") from error


def put_in_place(finished: Path, target: Path, *, sync: bool = False) -> None:
    """Rename a file or folder; a folder in the way is moved aside first, and back when that fails."""
    if sync:
        for path in [finished, *finished.rglob("*")]:
            _sync(path)
    if target.is_dir():
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", suffix=_ASIDE, dir=target.parent) as aside:
            os.rename(target, old := Path(aside) / target.name)
            try:
                os.rename(finished, target)
            except OSError:
                os.rename(old, target)
                raise
    else:
        os.replace(finished, target)
    if sync:
        _sync(target.parent)


def write_whole(path: Path, content: bytes | str, *, sync: bool = False, locked: bool = False) -> None:
    """Write a file whole or not at all, text as UTF-8; arguments and errors as of ``written_aside``."""
    with written_aside(path, sync=sync, locked=locked) as building:
        building.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(path: Path, value: Any, *, indent: int | None = 2, ensure_ascii: bool = False, **how: bool) -> None:
    """Write plain values as ``write_whole`` does, which takes what else is given."""
    write_whole(path, json.dumps(value, indent=indent, ensure_ascii=ensure_ascii) + "\n", **how)


def is_aside(path: Path) -> bool:
    """Whether this is what a process was, or is, writing beside its place."""
    return path.name.startswith(".") and path.name.endswith(_ASIDE)


def remove_stale(folder: Path) -> None:
    """Remove what killed processes were writing in ``folder`` more than a day ago."""
    for path in folder.glob(f".*{_ASIDE}"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _reason_of_the_system(error: Exception) -> str | None:
    """Why something could not be written; None if the error is of another kind. safetensors and torch wrap it."""
    if isinstance(error, OutputError) and isinstance(error.__cause__, Exception):  # of a file in a folder
        error = error.__cause__
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if "os error" in str(error) or "inline_container" in str(error):
        return f"{str(error).splitlines()[0]}; is the disk full?"
    return None


@contextmanager
def _own_place(target: Path) -> Iterator[Path]:
    """The target's name in a folder of this process; torch writes the name of a file into it."""
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=_ASIDE, dir=target.parent))
    try:
        yield folder / target.name
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked_place(target: Path) -> Iterator[Path]:
    """One name for all processes, empty and locked."""
    part = target.with_name(f".{target.name}{_ASIDE}")
    file = os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT, 0o666), "wb")
    if not _lock(file, part):
        file.close()
        raise OutputError(f"another process is writing into {part.parent}; wait until it has finished")
    try:
        file.truncate(0)
        yield part
    finally:
        part.unlink(missing_ok=True)
        file.close()


def _lock(file: IO[bytes], path: Path) -> bool:
    """False if another process has the lock, or has just finished and renamed the file."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False
    except (OSError, ImportError):  # a file system without locks, or Windows
        return True


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():  # Windows opens no folders
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
