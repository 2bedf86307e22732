"""Files of jobs: pictures by their content, latents on their way, and who is alive."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from sanakit.common.errors import OutputError
from sanakit.common.files import lock, written_aside

logger = logging.getLogger(__name__)


class Shelf:
    """A folder; what is in it is whole, and named by its SHA-256."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, content: bytes) -> str:
        """Keep a file, once; gives its name. Raises OutputError where there is no room."""
        name = hashlib.sha256(content).hexdigest()
        path = self._path(name)
        if not path.exists():
            with written_aside(path, sync=True) as building:
                building.write_bytes(content)
        return name

    def get(self, name: str) -> bytes:
        """Raises OutputError where it is gone or damaged."""
        try:
            content = self._path(name).read_bytes()
        except OSError as error:
            raise OutputError(f"the file {name[:10]} of a job cannot be read ({error.strerror})") from None
        if hashlib.sha256(content).hexdigest() != name:
            raise OutputError(f"the file {name[:10]} of a job is damaged: it has another hash")
        return content

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            self._path(name).unlink(missing_ok=True)

    def latent(self, key: str) -> Path:
        """Where a picture is kept as far as it is."""
        return self.folder / "latents" / f"{key}.safetensors"

    def drop_latents(self, job: str) -> None:
        with suppress(OSError):
            for path in (self.folder / "latents").glob(f"{job}-*"):
                path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.folder / "pictures" / name[:2] / name


class Presence:
    """A file that is locked as long as this process lives, so that others see at once that an owner is gone."""

    def __init__(self, folder: Path) -> None:
        self.name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._folder = folder / "owners"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = (self._folder / self.name).open("wb")
        except OSError as error:
            raise OutputError(f"{folder} cannot be written ({error.strerror})") from None
        lock(self._file, self._folder / self.name)

    def is_gone(self, owner: str) -> bool:
        """True where that owner has surely ended; of another machine nothing is known."""
        path = self._folder / owner
        if owner == self.name or not path.exists():
            return False
        with path.open("rb") as file:
            gone = lock(file, path)
        if gone:
            path.unlink(missing_ok=True)
        return gone

    def gone(self) -> Sequence[str]:
        """All owners that have ended since somebody looked."""
        return [path.name for path in self._folder.iterdir() if self.is_gone(path.name)]

    def leave(self) -> None:
        (self._folder / self.name).unlink(missing_ok=True)
        self._file.close()
