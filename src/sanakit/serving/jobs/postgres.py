"""PostgreSQL behind the SQL interface of jobs, where servers on several machines share them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from sanakit.common.errors import OutputError, optional
from sanakit.serving.jobs.database import SCHEMA, Row

if TYPE_CHECKING:
    import psycopg

logger = logging.getLogger(__name__)

_EXTRA = "jobs in PostgreSQL need psycopg; install it with: pip install 'sanakit[postgres]'"
_PATIENCE = 10.0  # seconds for a database that is started again
_PAUSE = 1.0  # seconds between two that find it gone after that
_SCHEMA_LOCK = 7_261_646  # any number that is ours alone; two servers that begin make the tables one after the other


def is_postgres(place: object) -> bool:
    """Whether that is an address of one, and no folder."""
    return str(place).startswith(("postgresql://", "postgres://"))


class Postgres:
    """One connection, which is made again where it breaks.

    Args:
        address: ``postgresql://user@host/database``; what it leaves out is as libpq finds it (``~/.pgpass``, ``PG…``).

    Raises:
        OutputError: the database cannot be reached.
        MissingExtraError: psycopg is not installed.
    """

    skip_locked = " FOR UPDATE SKIP LOCKED"

    def __init__(self, address: str) -> None:
        self._psycopg: Any = optional("psycopg", _EXTRA)
        self._address, self._lock = address, threading.RLock()
        self._connection: psycopg.Connection[Row] | None = None
        self._within = False
        self._lost: float | None = None  # when the connection was lost that is not there again
        self._again, self._why = 0.0, ""  # when it is tried again, after it was given up, and why
        schema = SCHEMA.format(number="BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", float="DOUBLE PRECISION")
        with self.transaction():
            self.run("SELECT pg_advisory_xact_lock(?)", _SCHEMA_LOCK)
            self.run(schema)

    def run(self, statement: str, *values: Any) -> list[Row]:
        with self._lock:
            if time.monotonic() < self._again:  # or all who wait for the lock would wait for it in turn
                raise OutputError(self._why)
            while True:
                try:
                    rows = self._run(statement, values)
                except self._psycopg.Error as error:
                    self._lose(error)
                else:
                    self._lost = None
                    return rows

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._lock:
            self.run("SELECT 1")  # over a connection that is there
            self._within = True
            try:
                self.run("BEGIN")
                yield
                self.run("COMMIT")
            except BaseException:
                with suppress(OutputError):
                    self.run("ROLLBACK")
                raise
            finally:
                self._within = False

    def now(self) -> float:
        return float(self.run("SELECT EXTRACT(EPOCH FROM clock_timestamp())")[0][0])

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _run(self, statement: str, values: tuple[Any, ...]) -> list[Row]:
        if self._connection is None:
            self._connection = self._psycopg.connect(
                self._address, autocommit=True, connect_timeout=5, application_name="sanakit",
                keepalives_idle=5, keepalives_interval=5, keepalives_count=3, tcp_user_timeout=15_000,
            )  # fmt: skip
        cursor = self._connection.execute(statement.replace("?", "%s"), values or None)
        return cursor.fetchall() if cursor.description else []

    def _lose(self, error: Exception) -> None:
        """Let a statement be tried again that failed with its connection, for a while; raises OutputError else."""
        broken, now = self._connection is None or self._connection.broken, time.monotonic()
        if broken:
            self._drop()
            self._lost = self._lost or now
        if not broken or self._within or now > (self._lost or now) + _PATIENCE:
            self._why = f"the database of jobs cannot be written or read ({str(error).strip()})"
            self._again = time.monotonic() + _PAUSE if broken else 0.0
            raise OutputError(self._why) from error
        logger.warning("the database of jobs does not answer; it is asked again")
        time.sleep(0.25)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
