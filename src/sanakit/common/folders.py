"""A folder in the place of another one, also where the file system does not let folders be renamed; and one process
at a time in one."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sanakit.common.errors import OutputError

_ASIDE = ".part"

logger = logging.getLogger(__name__)


def replace_folder(finished: Path, target: Path, stays: Callable[[Path], bool]) -> None:
    """Put a finished folder in the place of ``target``. Whatever fails, what was there is there again.

    A mount point (a container's volume) and a folder of an image's layer cannot be renamed: their files are then
    moved one by one, the old ones aside first.

    Args:
        stays: tells of what lies directly in ``target`` that is not moved.

    Raises:
        OSError: it could not be done.
        OutputError: and the old folder could not be put back; the sentence says where it is.
    """
    aside = None if finished.is_relative_to(target) else _folder_in(target.parent)
    if aside is None:
        _replace_files(finished, target, stays)
        return
    try:
        os.rename(target, old := aside / target.name)
    except OSError:
        aside.rmdir()
        _replace_files(finished, target, stays)
        return
    try:
        os.rename(finished, target)
    except OSError as error:
        _put_back([(target, old)], target, aside, error)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _replace_files(finished: Path, target: Path, stays: Callable[[Path], bool]) -> None:
    """The files of ``finished`` instead of those in ``target``, which stays the folder that it is."""
    aside = Path(tempfile.mkdtemp(prefix=".", suffix=_ASIDE, dir=target))
    kept = [path for path in target.iterdir() if not stays(path)]
    old = [path for place in kept for path in _files_below(place)]
    moves = [(path, aside / path.relative_to(target)) for path in old]
    moves += [(path, target / path.relative_to(finished)) for path in _files_below(finished)]
    done: list[tuple[Path, Path]] = []
    try:
        for source, goal in moves:
            _move(source, goal)
            done.append((source, goal))
    except BaseException as error:
        _put_back(done[::-1], target, aside, error)
        raise
    for path in kept:
        _remove_empty(path)
    shutil.rmtree(aside, ignore_errors=True)


def _put_back(moved: list[tuple[Path, Path]], target: Path, aside: Path, error: BaseException) -> None:
    """Undo moves (from, to); what cannot be put back stays in ``aside``, which the sentence names."""
    try:
        for source, goal in moved:
            _move(goal, source)
    except OSError:
        raise OutputError(
            f"{target} could not be replaced ({error}), and what was there could not be put back; it lies in {aside}"
        ) from None
    shutil.rmtree(aside, ignore_errors=True)


def _move(source: Path, goal: Path) -> None:
    """Rename, or copy across the border of a volume; the goal is whole or not there."""
    goal.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(source, goal)
    except OSError as error:
        if error.errno != errno.EXDEV or (source.is_dir() and not source.is_symlink()):
            raise
        part = goal.with_name(f".{goal.name[:200]}{_ASIDE}")
        try:
            shutil.copyfile(source, part, follow_symlinks=False)
            os.replace(part, goal)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        source.unlink()


def _files_below(path: Path) -> Iterator[Path]:
    """Every file and link, ``path`` itself if it is one."""
    if path.is_symlink() or not path.is_dir():
        yield path
        return
    for inner in sorted(path.iterdir()):
        yield from _files_below(inner)


def _remove_empty(path: Path) -> None:
    """Folders that nothing is left in."""
    if path.is_symlink() or not path.is_dir():
        return
    for inner in path.iterdir():
        _remove_empty(inner)
    with suppress(OSError):
        path.rmdir()


def _folder_in(place: Path) -> Path | None:
    """A new folder of ours; None where none can be made."""
    try:
        return Path(tempfile.mkdtemp(prefix=".", suffix=_ASIDE, dir=place))
    except OSError:
        return None


@contextmanager
def alone_in(folder: Path) -> Iterator[bool]:
    """Of several processes that work in a folder one does at a time, and the others wait; whatever ends a process lets
    go of it. False where the file system has no locks."""
    try:
        import fcntl

        place = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):  # Windows
        yield False
        return
    try:
        yield _lock(fcntl, place, folder)
    finally:
        os.close(place)  # and with it the lock


def _lock(fcntl: Any, place: int, folder: Path) -> bool:
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        logger.info("another process is at work in %s; waiting for it", folder)
        fcntl.flock(place, fcntl.LOCK_EX)
    except OSError:
        return False
    return True
