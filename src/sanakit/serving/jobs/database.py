"""A small SQL interface, and SQLite behind it; PostgreSQL is another. Statements are in what both of them know."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from sanakit.common.errors import OutputError

Row = Sequence[Any]

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    number {number}, id TEXT NOT NULL UNIQUE, client TEXT NOT NULL, model TEXT NOT NULL, kind TEXT NOT NULL,
    fields TEXT NOT NULL, inputs TEXT NOT NULL, idempotency TEXT, fingerprint TEXT NOT NULL, status TEXT NOT NULL,
    priority INTEGER NOT NULL, steps INTEGER NOT NULL, progress {float} NOT NULL, created {float} NOT NULL,
    started {float}, ended {float}, not_before {float} NOT NULL, owner TEXT, lease {float}, error TEXT
);
CREATE INDEX IF NOT EXISTS jobs_in_turn ON jobs (status, model, priority DESC, number);
CREATE INDEX IF NOT EXISTS jobs_of_client ON jobs (client, number);
CREATE UNIQUE INDEX IF NOT EXISTS jobs_once ON jobs (client, idempotency);
CREATE TABLE IF NOT EXISTS pictures (
    job TEXT NOT NULL, number INTEGER NOT NULL, sha256 TEXT NOT NULL, seed BIGINT NOT NULL, width INTEGER NOT NULL,
    height INTEGER NOT NULL, PRIMARY KEY (job, number)
);
CREATE INDEX IF NOT EXISTS pictures_by_content ON pictures (sha256);
CREATE TABLE IF NOT EXISTS loose (file TEXT PRIMARY KEY, since {float} NOT NULL);
"""


class Database(Protocol):
    """What a job store asks of SQL; parameters are ``?``.

    Attributes:
        skip_locked: the end of a query for rows that are to be changed, so that of several processes each gets others.
    """

    skip_locked: str

    def run(self, statement: str, *values: Any) -> list[Row]:
        """One statement in a transaction of its own, or of `transaction`; gives its rows. Outside of `transaction` it
        may run twice where a connection broke, so it is one that does no harm then.

        Raises:
            OutputError: it could not be written down, as where the disk is full.
        """

    def transaction(self) -> AbstractContextManager[None]:
        """All statements within it, or none."""

    def now(self) -> float:
        """Seconds since 1970 on a clock that is one for all who share it."""

    def close(self) -> None: ...


class Sqlite:
    """One file in WAL mode; every statement is on the disk when it returns."""

    skip_locked = ""  # who writes is alone

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        with _told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._path = path
            self._connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.executescript(SCHEMA.format(number="INTEGER PRIMARY KEY", float="REAL"))

    def run(self, statement: str, *values: Any) -> list[Row]:
        with self._lock, _told(self._path):
            return self._connection.execute(statement, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._lock:
            self.run("BEGIN IMMEDIATE")
            try:
                yield
                self.run("COMMIT")
            except BaseException:
                with suppress(OutputError):  # where the disk is full, SQLite has ended it already
                    self.run("ROLLBACK")
                raise

    def now(self) -> float:
        return time.time()

    def close(self) -> None:
        with self._lock:
            self._connection.close()


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.OperationalError, sqlite3.DatabaseError, OSError) as error:
        raise OutputError(f"{path} cannot be written or read ({error})") from error
