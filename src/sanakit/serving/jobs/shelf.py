"""Files of jobs: pictures, latents on their way; and who is alive."""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from sanakit.common.errors import OutputError
from sanakit.common.files import lock
from sanakit.serving.places import Kept, Place

_LEAST_ROOM = 2**20  # bytes, about those of a picture


class Shelf:
    """Files at a place that several processes may share. A name begins with the SHA-256 of its content, and nobody
    else has it, so that whoever lets a file go takes it from nobody."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def new_name(self, content: bytes) -> str:
        """For a file that is kept next, and announced before."""
        return f"{hashlib.sha256(content).hexdigest()}-{secrets.token_hex(4)}"

    def put(self, content: bytes, name: str | None = None) -> str:
        """Keep a file, under a new name of its own or of ``new_name``; gives it. Raises OutputError where there is no
        room."""
        name = name or self.new_name(content)
        with self._place.writing(_path(name), sync=True) as building:
            building.write_bytes(content)
        return name

    def check(self) -> None:
        """Raises OutputError where no file can be kept; what a killed process leaves of that is written over."""
        self.remove([self.put(bytes(_LEAST_ROOM), "room")])

    def get(self, name: str) -> bytes:
        """Raises OutputError where it is gone or damaged."""
        try:
            with self._place.reading(_path(name)) as path:
                content = None if path is None else path.read_bytes()
        except OSError as error:
            raise OutputError(f"the file {name[:10]} of a job cannot be read ({error.strerror})") from None
        if content is None:
            raise OutputError(f"the file {name[:10]} of a job cannot be read; it is gone")
        if hashlib.sha256(content).hexdigest() != sha256_of(name):
            raise OutputError(f"the file {name[:10]} of a job is damaged: it has another hash")
        return content

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            self._place.remove(_path(name))

    def latent(self, key: str) -> Kept:
        """Where a picture is kept as far as it is."""
        return Kept(self._place, f"latents/{key}.safetensors")

    def jobs_with_latents(self) -> set[str]:
        """Of whom a picture is kept as far as it is."""
        return {name.rpartition("/")[2].rpartition("-")[0] for name in self._place.named("latents/")}

    def drop_latents(self, job: str) -> None:
        """What cannot be removed costs room, and nothing else."""
        with suppress(OutputError):
            for name in self._place.named(f"latents/{job}-"):
                self._place.remove(name)


def _path(name: str) -> str:
    return f"pictures/{name[:2]}/{name}"


def sha256_of(name: str) -> str:
    """Of a file's content; files of early versions have no more of a name."""
    return name.partition("-")[0]


class Presence:
    """A file that is locked as long as this process lives, so that others of its machine see at once that an owner is
    gone. Of other machines nothing is known but their leases, and a server without a folder has no file."""

    def __init__(self, folder: Path | None) -> None:
        self.name = f"{socket.gethostname()[:60]}-{os.getpid()}-{secrets.token_hex(4)}"
        self._folder = None if folder is None else folder / "owners"
        self._file: IO[bytes] | None = None
        if self._folder is None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = (self._folder / self.name).open("wb")
        except OSError as error:
            raise OutputError(f"{folder} cannot be written ({error.strerror})") from None
        lock(self._file, self._folder / self.name)

    def is_gone(self, owner: str) -> bool:
        """True where that owner has surely ended; of another machine nothing is known."""
        if self._folder is None or owner == self.name or not (path := self._folder / owner).exists():
            return False
        with path.open("rb") as file:
            gone = lock(file, path)
        if gone:
            path.unlink(missing_ok=True)
        return gone

    def gone(self) -> Sequence[str]:
        """All owners that have ended since somebody looked."""
        there = () if self._folder is None else self._folder.iterdir()
        return [path.name for path in there if self.is_gone(path.name)]

    def leave(self) -> None:
        if self._folder is not None and self._file is not None:
            (self._folder / self.name).unlink(missing_ok=True)
            self._file.close()
