"""Files and folders that are whole or not there: written beside their place, renamed when finished."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import IO, Any

from sanakit.common.errors import OutputError, RequestError
from sanakit.common.folders import replace_folder

_ASIDE = ".part"
_STALE_SECONDS = 86_400.0
_OF_THE_SYSTEM = ("lost+found", ".DS_Store")  # in a folder that nobody has put anything into
_NO_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES, errno.EPERM})


class NotNeededError(Exception):
    """Raised inside ``written_aside``: the block ends well, and its file is thrown away."""


@contextmanager
def written_aside(target: Path, *, force: bool = True, sync: bool = False, locked: bool = False) -> Iterator[Path]:
    """A path to write one file or folder to, which takes the place of ``target`` when the block ends well.

    Files get the rights that the user's umask gives, however they were made. A link to a folder stays, and what it
    leads to is replaced.

    Args:
        force: replace what is there; an empty folder may always be filled.
        sync: have it on the disk before it is renamed, so that a power failure leaves no empty file under a good name.
        locked: for one file that a second process must not write meanwhile. What a killed process left is written
            over by the next one; without a lock each process writes to a place of its own.

    Raises:
        RequestError: ``target`` exists and ``force`` is not set.
        OutputError: the disk is full, the place cannot be written, or another process is writing; ``target`` is as it
            was and nothing is left beside it, but for a finished folder, whose place the sentence names.
    """
    if not force:
        check_free(target)
    with suppress(NotNeededError), unwritten(target):
        if target.is_symlink() and target.is_dir():
            target = target.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked_place(target) if locked else _own_place(target) as building:
            yield building
            try:
                if not force:
                    check_free(target)  # another process may have written there meanwhile
                put_in_place(building, target, sync=sync)
            except (OSError, OutputError, RequestError) as error:
                _keep_beside(building, target, error)
                raise


def write_new(wanted: Path, write: Callable[[Path], object]) -> Path:
    """Write a file under a name that nothing has, and give it: ``wanted``, or that with the next free number.

    The name is taken as the whole file appears under it, so of many processes none writes over another's.

    Raises:
        OutputError: as of ``written_aside``.
    """
    with unwritten(wanted):
        wanted.parent.mkdir(parents=True, exist_ok=True)
        with _own_place(wanted) as building:
            write(building)
            give_usual_rights(building)
            for number in count(1):
                path = wanted if number == 1 else wanted.with_stem(f"{wanted.stem}-{number}")
                with suppress(FileExistsError):
                    _take_name(building, path)
                    return path
    raise AssertionError("the numbers do not end")


def check_free(target: Path) -> None:
    """Raises ``RequestError`` if something is there that would be replaced."""
    with suppress(OSError):
        if target.is_dir() and all(is_aside(path) or path.name in _OF_THE_SYSTEM for path in target.iterdir()):
            return
    if os.path.lexists(target):
        raise RequestError(f"{target} exists already; choose another name, or force it to be replaced")


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
    """Rename a file or folder; a folder that is in the way is there until the new one has its place."""
    give_usual_rights(finished)
    if sync:
        for path in [finished, *finished.rglob("*")]:
            _sync(path)
    if target.is_dir() and not finished.is_file():
        replace_folder(finished, target, lambda path: is_aside(path) or path.name in _OF_THE_SYSTEM)
    elif _is_no_file(target):
        _fill(target, finished)
    else:
        _replace_file(finished, target)
    if sync:
        _sync(target.parent)


def _replace_file(finished: Path, target: Path) -> None:
    try:
        os.replace(finished, target)
    except OSError as error:
        if error.errno != errno.EBUSY:  # a file that is mounted by itself keeps its place
            raise
        _fill(target, finished)


def _fill(target: Path, finished: Path) -> None:
    with finished.open("rb") as source, target.open("wb") as there:
        shutil.copyfileobj(source, there)


def _is_no_file(target: Path) -> bool:
    """A device, a pipe or a terminal, such as ``/dev/stdout``: it is written to, and never replaced."""
    try:
        mode = target.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def write_whole(path: Path, content: bytes | str, *, sync: bool = False, locked: bool = False) -> None:
    """Write a file whole or not at all; arguments and errors as of ``written_aside``.

    Text is UTF-8, in which a byte of a file name that is none is written as JSON does, ``\\udce9``.
    """
    with written_aside(path, sync=sync, locked=locked) as building:
        building.write_bytes(as_utf8(content) if isinstance(content, str) else content)


def as_utf8(text: str) -> bytes:
    """UTF-8 of any text; lone surrogates, from names of files that are not UTF-8, become JSON's escapes of them."""
    return text.encode("utf-8", "backslashreplace")


def write_json(path: Path, value: Any, *, indent: int | None = 2, ensure_ascii: bool = False, **how: bool) -> None:
    """Write plain values as ``write_whole`` does, which takes what else is given."""
    write_whole(path, json_text(value, indent=indent, ensure_ascii=ensure_ascii) + "\n", **how)


def json_text(value: Any, **how: Any) -> str:
    """What ``json.dumps`` makes, and null for what is no number: NaN is JavaScript, and most readers refuse it."""
    try:
        return json.dumps(value, allow_nan=False, **how)
    except ValueError:
        return json.dumps(_with_null(value), **how)


def _with_null(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {name: _with_null(item) for name, item in value.items()}
        case list() | tuple():
            return [_with_null(item) for item in value]
        case _:
            return value


def copy_folder(source: Path, target: Path) -> None:
    """The files below ``source``, links followed, into a new folder; their contents only, since not every share takes
    rights and times. Raises OSError."""
    target.mkdir()
    for path in sorted(source.iterdir()):
        if path.is_dir():
            copy_folder(path, target / path.name)
        else:
            shutil.copyfile(path, target / path.name)


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
    if isinstance(error, _KeptError):
        return None
    if isinstance(error, OutputError) and isinstance(error.__cause__, Exception):  # of a file in a folder
        error = error.__cause__
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if "os error" in str(error) or "inline_container" in str(error):
        return f"{str(error).splitlines()[0]}; is the disk full?"
    return None


class _KeptError(OutputError):
    """What could not be put in its place lies in another one."""


def _keep_beside(building: Path, target: Path, error: OSError | OutputError | RequestError) -> None:
    """A folder that was hours of work gets a free name where its own cannot be had; then raises ``OutputError``."""
    reason = f"{target} could not be replaced ({error.strerror or error})" if isinstance(error, OSError) else str(error)
    place = building.parent.parent
    for kept in (place / f"{target.name}-{number}" for number in range(2, 100) if building.is_dir()):
        with suppress(OSError):
            os.rename(building, kept)
            raise _KeptError(f"{reason}; the new one is finished and lies in {kept}") from error


def _take_name(building: Path, path: Path) -> None:
    """The finished file under a name that must be free; raises FileExistsError where it is not."""
    try:
        os.link(building, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: an empty file holds the name until the whole one comes
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        try:
            os.replace(building, path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def give_usual_rights(finished: Path) -> None:
    """Every file and folder gets what ``open`` and ``mkdir`` would give it: safetensors makes its files for the owner
    alone, and so does whoever asks for a temporary folder. A share that takes no rights keeps its own."""
    if finished.is_dir():
        paths = [finished, *finished.rglob("*")]
    elif finished.is_file() and not finished.stat().st_mode & 0o077:
        paths = [finished]
    else:
        return
    with suppress(OSError):
        with _own_place(finished) as probe:
            probe.mkdir()
            folder_mode = probe.stat().st_mode & 0o777
            (probe / "file").touch()
            file_mode = (probe / "file").stat().st_mode & 0o777
        for path in paths:
            mode = stat.S_IMODE(path.lstat().st_mode)
            wanted = mode & ~0o777 | (folder_mode if path.is_dir() else file_mode)
            if mode != wanted and not path.is_symlink():
                path.chmod(wanted)


@contextmanager
def _own_place(target: Path) -> Iterator[Path]:
    """The target's name in a folder of this process; torch writes the name of a file into it.

    It lies beside the target, or in it where that is a volume of its own or its parent cannot be written; of a device
    in the temporary folder.
    """
    place = _new_folder(target)
    try:
        yield place / target.name
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _new_folder(target: Path) -> Path:
    places = [Path(tempfile.gettempdir()) if _is_no_file(target) else target.parent]
    if target.is_dir():
        is_volume = target.stat().st_dev != target.parent.stat().st_dev
        places = [target, target.parent] if is_volume else [target.parent, target]
    for place in places:
        try:
            return Path(tempfile.mkdtemp(prefix=f".{target.name[:200]}.", suffix=_ASIDE, dir=place))
        except OSError:
            if place == places[-1]:
                raise
    raise AssertionError("the last place has raised")


@contextmanager
def _locked_place(target: Path) -> Iterator[Path]:
    """One name for all processes, empty and locked."""
    part = target.with_name(f".{target.name}{_ASIDE}")
    file = os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT, 0o666), "wb")
    if not lock(file, part):
        file.close()
        raise OutputError(f"another process is writing into {part.parent}; wait until it has finished")
    try:
        file.truncate(0)
        yield part
    finally:
        part.unlink(missing_ok=True)
        file.close()


def lock(file: IO[bytes], path: Path) -> bool:
    """Lock an open file until it is closed; False if another process has it, or has just renamed or removed it."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False
    except (OSError, ImportError):  # a file system without locks, or Windows
        return True


def _sync(path: Path) -> None:
    """A file system that does not sync, folders above all, keeps its own promises."""
    if os.name == "nt" and path.is_dir():  # Windows opens no folders
        return
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
