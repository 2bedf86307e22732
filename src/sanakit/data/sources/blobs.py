"""Where the bytes of one stored file are. Each is opened anew for every reading, so threads and forks share nothing."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from sanakit.common.errors import PictureError
from sanakit.common.user_cache import file_stamp


class Blob(Protocol):
    """The bytes of one file, wherever they lie."""

    @property
    def path(self) -> Path:
        """The file that the bytes lie in."""

    @property
    def name(self) -> str:
        """For messages, and its suffix for the kind of the file."""

    def open(self) -> BinaryIO:
        """Raises OSError."""

    @property
    def num_bytes(self) -> int:
        """Raises OSError."""

    def stamp(self) -> str | None:
        """What stays the same as long as the bytes do; None if the file has gone, or was written so lately that
        another change would not show in its times."""


def read_blob(blob: Blob) -> bytes:
    """All of it.

    Raises:
        PictureError: it is gone, or shorter than it was.
    """
    try:
        with blob.open() as file:
            content = file.read()
        if len(content) != blob.num_bytes:
            raise PictureError(f"{blob.name} ends early, after {len(content)} of {blob.num_bytes} bytes")
    except OSError as error:
        raise PictureError(f"{blob.name} cannot be read: {error.strerror or error}") from error
    return content


@dataclass(frozen=True, slots=True)
class FileBlob:
    """A file of its own."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    def open(self) -> BinaryIO:
        return self.path.open("rb")

    @property
    def num_bytes(self) -> int:
        return self.path.stat().st_size

    def stamp(self) -> str | None:
        return file_stamp(self.path)


@dataclass(frozen=True, slots=True)
class RangeBlob:
    """A stretch of a larger file, such as a member of a tar."""

    path: Path
    name: str
    offset: int
    num_bytes: int

    def open(self) -> BinaryIO:
        return io.BufferedReader(_Window(self.path, self.offset, self.num_bytes), 16384)

    def stamp(self) -> str | None:
        return file_stamp(self.path, f"{self.offset}+{self.num_bytes}")


class _Window(io.RawIOBase):
    """A stretch of a file as a file."""

    def __init__(self, path: Path, offset: int, size: int) -> None:
        super().__init__()
        self._file = path.open("rb", buffering=0)
        self._offset, self._size, self._at = offset, size, 0
        self._file.seek(offset)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        self._file.seek(self._offset + self._at)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        content = self._file.read(max(0, min(len(buffer), self._size - self._at))) or b""
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)

    def close(self) -> None:
        self._file.close()
        super().close()
