"""Where files are that other processes, or other machines, go on with: a folder, or any place that fsspec knows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sanakit.common.errors import OutputError, optional
from sanakit.common.files import unwritten, written_aside

_EXTRA = "--results {} needs fsspec; install it with: pip install 'sanakit[postgres]'"


class Place(Protocol):
    """Files by name, each whole or not there; a value that can be sent to another process.

    Everything raises OutputError where the place cannot be reached or has no room.
    """

    def reading(self, name: str) -> AbstractContextManager[Path | None]:
        """A file to read within; None where there is none of that name."""

    def writing(self, name: str, *, sync: bool = False) -> AbstractContextManager[Path]:
        """A path to write within, whose content has that name at the end; ``sync``: on the disk by then."""

    def remove(self, name: str) -> None:
        """One that is not there is no error."""

    def named(self, beginning: str) -> Sequence[str]:
        """All names that begin so, with a folder at least."""


@dataclass(frozen=True, slots=True)
class Folder:
    """On a disk of this machine, or on one that it shares."""

    path: Path

    @contextmanager
    def reading(self, name: str) -> Iterator[Path | None]:
        path = self.path / name
        yield path if path.is_file() else None

    def writing(self, name: str, *, sync: bool = False) -> AbstractContextManager[Path]:
        return written_aside(self.path / name, sync=sync)

    def remove(self, name: str) -> None:
        with unwritten(self.path / name):
            (self.path / name).unlink(missing_ok=True)

    def named(self, beginning: str) -> Sequence[str]:
        folder, _, start = beginning.rpartition("/")
        return [f"{folder}/{path.name}" for path in (self.path / folder).glob(f"{start}*")]


@dataclass(frozen=True, slots=True)
class Remote:
    """Behind a URL such as ``s3://bucket/folder``, in whose services a file appears as a whole."""

    url: str

    @contextmanager
    def reading(self, name: str) -> Iterator[Path | None]:
        with tempfile.TemporaryDirectory() as folder:
            path: Path | None = Path(folder) / "file"
            with self._told(name):
                try:
                    self._files.get_file(self._path(name), str(path))
                except FileNotFoundError:
                    path = None
            yield path

    @contextmanager
    def writing(self, name: str, *, sync: bool = False) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "file"
            yield path
            with self._told(name):
                self._files.makedirs(self._path(name).rpartition("/")[0], exist_ok=True)
                self._files.put_file(str(path), self._path(name))

    def remove(self, name: str) -> None:
        with self._told(name), suppress(FileNotFoundError):
            self._files.rm_file(self._path(name))

    def named(self, beginning: str) -> Sequence[str]:
        folder = beginning.rpartition("/")[0]
        with self._told(folder):
            try:
                found = self._files.ls(self._path(folder), detail=False, refresh=True)
            except FileNotFoundError:
                return []
        names = (f"{folder}/{str(path).rpartition('/')[2]}" for path in found)
        return [name for name in names if name.startswith(beginning)]

    @property
    def _files(self) -> Any:
        """Of fsspec, which keeps it for the next time."""
        return optional("fsspec", _EXTRA.format(self.url)).core.url_to_fs(self.url)[0]

    def _path(self, name: str) -> str:
        return f"{optional('fsspec', _EXTRA.format(self.url)).core.url_to_fs(self.url)[1].rstrip('/')}/{name}"

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """Services have errors of their own, and all of them mean that."""
        try:
            yield
        except FileNotFoundError:
            raise
        except Exception as error:
            raise OutputError(f"{self.url}: {name} cannot be reached ({error})") from error


def place_at(place: str | Path) -> Place:
    """A folder, or what a URL leads to.

    Raises:
        OutputError: nothing that is installed reaches the URL.
        MissingExtraError: fsspec is not installed.
    """
    if "://" not in str(place):
        return Folder(Path(place))
    remote = Remote(str(place))
    with remote._told("it"):
        remote._files  # noqa: B018 (imports what reaches it)
    return remote


@dataclass(frozen=True, slots=True)
class Kept:
    """One name at a place."""

    place: Place
    name: str
