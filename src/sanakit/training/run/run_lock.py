"""One sitting of a run at a time."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from sanakit.common.errors import RequestError
from sanakit.common.files import lock, unwritten

_LOCK_FILE = ".lock"


@contextmanager
def only_sitting(folder: Path) -> Iterator[None]:
    """Hold the folder of a run; whatever ends this process lets go of it.

    Raises:
        RequestError: another process holds it; the message says which.
        OutputError: the folder cannot be written.
    """
    path = folder / _LOCK_FILE
    with unwritten(folder):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        if not lock(file, path):
            holder = file.read(200).decode("utf-8", "replace").strip() or "another process"
            raise RequestError(
                f"the run in {folder} is going on already, in {holder}; wait for it, stop it, or give another --output"
            )
        with unwritten(folder):
            file.truncate(0)
            began = datetime.now().astimezone().isoformat(" ", "seconds")
            file.write(f"process {os.getpid()} on {socket.gethostname()} since {began}".encode())
        try:
            yield
        finally:
            file.truncate(0)
