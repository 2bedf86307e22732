"""Jobs and what became of them. Whoever works on one has a lease; only its owner's results count."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sanakit.common.errors import OutputError, RequestError
from sanakit.serving.jobs.database import Database, Row

QUEUED, RUNNING, COMPLETED, FAILED, CANCELLED = "queued", "running", "completed", "failed", "cancelled"
STATUSES = (QUEUED, RUNNING, COMPLETED, FAILED, CANCELLED)
MAX_WAIT = 120.0  # seconds; leases and pauses are shorter
_COLUMNS = (
    "id", "client", "model", "kind", "fields", "inputs", "fingerprint", "status", "priority", "steps", "progress",
    "created", "started", "ended", "owner", "error", "number",
)  # fmt: skip
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM jobs"


SINGLE = ("mask", "clip")
"""Kinds of files of which a job has one at most."""


class ReusedKeyError(RequestError):
    """An idempotency key came again with other content."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What was accepted, and how far it is; times are seconds since 1970.

    Attributes:
        kind: which endpoint's body it is.
        fields: the body, with a seed.
        inputs: names of the files that came along: lists under "pictures" and "controls", one each under `SINGLE`.
        fingerprint: of what came, to tell whether the same is asked again.
        steps: of all its pictures.
        progress: from 0 to 1.
        error: OpenAI's error object of one that failed.
    """

    id: str
    client: str
    model: str
    kind: str
    fields: Mapping[str, Any]
    inputs: Mapping[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    status: str = QUEUED
    priority: int = 0
    steps: int = 0
    progress: float = 0.0
    created: float = 0.0
    started: float | None = None
    ended: float | None = None
    owner: str | None = None
    error: Mapping[str, Any] | None = None
    number: int = 0

    @property
    def has_ended(self) -> bool:
        return self.status not in (QUEUED, RUNNING)


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """A finished picture of a job: its place there, the name of its file, its seed and size."""

    number: int
    sha256: str
    seed: int
    width: int
    height: int


class JobStore:
    """All that is asked of the database. What changes a job of an owner says whether it was still the owner's."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def accept(self, job: Job, idempotency: str | None = None) -> Job:
        """Remember a job, and give it as it is; with a key that was used before, the job of then.

        Raises:
            ReusedKeyError: the key belongs to something else.
            OutputError: it could not be written down; it is not accepted.
        """
        self._database.run(
            "INSERT INTO jobs (id, client, model, kind, fields, inputs, idempotency, fingerprint, status, priority, "
            "steps, progress, created, not_before) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, 0) "
            "ON CONFLICT DO NOTHING",
            job.id, job.client, job.model, job.kind, json.dumps(dict(job.fields)), json.dumps(dict(job.inputs)),
            idempotency, job.fingerprint, QUEUED, job.priority, job.steps, job.created,
        )  # fmt: skip
        if (accepted := self.get(job.id)) is not None:
            return accepted
        rows = self._database.run(f"{_SELECT} WHERE client = ? AND idempotency = ?", job.client, idempotency)
        if not rows:
            raise OutputError("the job of this Idempotency-Key was deleted meanwhile; ask again")
        if (known := _job(rows[0])).fingerprint != job.fingerprint:
            raise ReusedKeyError("this Idempotency-Key came before with another body; take a new one.")
        return known

    def now(self) -> float:
        """For leases."""
        return self._database.now()

    def claim(self, owner: str, model: str, now: float, until: float) -> Job | None:
        """The next job of a model, with a lease; also one whose owner has let its lease go by, and what is to wait
        longer than anything is let wait, as after a clock was put back."""
        far = now + MAX_WAIT
        rows = self._database.run(
            "UPDATE jobs SET status = ?, owner = ?, lease = ?, started = COALESCE(started, ?) WHERE number = ("
            "SELECT number FROM jobs WHERE model = ? AND ((status = ? AND (not_before <= ? OR not_before > ?)) OR "
            "(status = ? AND (lease < ? OR lease > ?) AND owner <> ?)) ORDER BY priority DESC, number LIMIT 1"
            f"{self._database.skip_locked}) RETURNING {', '.join(_COLUMNS)}",
            RUNNING, owner, until, now, model, QUEUED, now, far, RUNNING, now, far, owner,
        )  # fmt: skip
        return _job(rows[0]) if rows else None

    def renew(self, owner: str, until: float) -> set[str]:
        """All leases of an owner; gives the jobs that it has, by what is written."""
        rows = self._database.run(
            "UPDATE jobs SET lease = ? WHERE owner = ? AND status = ? RETURNING id", until, owner, RUNNING
        )
        return {row[0] for row in rows}

    def release(self, owner: str, job: str | None = None, not_before: float = 0.0) -> None:
        """Let others, or oneself later, go on with a job of an owner, or with all of them."""
        one, values = ("", ()) if job is None else (" AND id = ?", (job,))
        self._database.run(
            "UPDATE jobs SET status = ?, owner = NULL, lease = NULL, not_before = ? "
            f"WHERE owner = ? AND status = ?{one}",
            QUEUED, not_before, owner, RUNNING, *values,
        )  # fmt: skip

    def announce(self, files: Sequence[str]) -> None:
        """Remember files before they are written, so that `adrift` knows them where nobody lives to say whose they
        are; `settle` ends that."""
        if files:
            self._loosen(files, self.now())

    def _loosen(self, files: Iterable[str], since: float) -> None:
        for file in files:
            self._database.run("INSERT INTO loose (file, since) VALUES (?, ?) ON CONFLICT DO NOTHING", file, since)

    def settle(self, files: Iterable[str]) -> None:
        """They belong to a job by now, or are removed; where that cannot be written down `adrift` finds it out."""
        with suppress(OutputError):
            for file in files:
                self._database.run("DELETE FROM loose WHERE file = ?", file)

    def adrift(self, before: float) -> list[str]:
        """Files that were announced before then and belong to no job."""
        found = [row[0] for row in self._database.run("SELECT file FROM loose WHERE since < ? LIMIT 500", before)]
        needed = {file for file in found if self._needed(file)}
        self.settle(needed)
        return [file for file in found if file not in needed]

    def keep_picture(self, owner: str, job: str, picture: StoredPicture) -> bool:
        """Remember a finished picture, once; says whether this file is what is remembered."""
        self._database.run(
            "INSERT INTO pictures (job, number, sha256, seed, width, height) "
            "SELECT id, ?, ?, ?, ?, ? FROM jobs WHERE id = ? AND owner = ? AND status = ? ON CONFLICT DO NOTHING",
            picture.number, picture.sha256, picture.seed, picture.width, picture.height, job, owner, RUNNING,
        )  # fmt: skip
        found = self._database.run("SELECT sha256 FROM pictures WHERE job = ? AND number = ?", job, picture.number)
        return bool(found) and found[0][0] == picture.sha256

    def tell_progress(self, owner: str, job: str, progress: float) -> None:
        self._database.run("UPDATE jobs SET progress = ? WHERE id = ? AND owner = ?", progress, job, owner)

    def end(self, owner: str, job: str, status: str, now: float, error: Mapping[str, Any] | None = None) -> bool:
        """The last word on a job."""
        told = None if error is None else json.dumps(error)
        rows = self._database.run(
            "UPDATE jobs SET status = ?, ended = ?, error = ?, owner = NULL, lease = NULL, "
            "progress = CASE WHEN ? THEN 1 ELSE progress END WHERE id = ? AND owner = ? AND status = ? RETURNING id",
            status, now, told, status == COMPLETED, job, owner, RUNNING,
        )  # fmt: skip
        return bool(rows)

    def cancel(self, job: str, now: float) -> bool:
        """One that has not ended; who works on it sees that when its lease is renewed."""
        rows = self._database.run(
            "UPDATE jobs SET status = ?, ended = ?, owner = NULL, lease = NULL WHERE id = ? AND status IN (?, ?) "
            "RETURNING id",
            CANCELLED, now, job, QUEUED, RUNNING,
        )  # fmt: skip
        return bool(rows)

    def prioritise(self, job: str, priority: int) -> None:
        self._database.run("UPDATE jobs SET priority = ? WHERE id = ?", priority, job)

    def get(self, job: str) -> Job | None:
        rows = self._database.run(f"{_SELECT} WHERE id = ?", job)
        return _job(rows[0]) if rows else None

    def listed(
        self,
        client: str,
        *,
        after: int | None = None,
        limit: int = 20,
        status: str | None = None,
        oldest_first: bool = False,
    ) -> list[Job]:
        """Newest first, or oldest; of those that come behind number ``after`` in that order."""
        conditions, values = ["client = ?"], [client]
        behind, order = ("number > ?", "ASC") if oldest_first else ("number < ?", "DESC")
        for condition, value in ((behind, after), ("status = ?", status)):
            if value is not None:
                conditions.append(condition)
                values.append(value)  # type: ignore[arg-type]
        rows = self._database.run(
            f"{_SELECT} WHERE {' AND '.join(conditions)} ORDER BY number {order} LIMIT ?", *values, limit
        )
        return [_job(row) for row in rows]

    def pictures(self, job: str) -> list[StoredPicture]:
        rows = self._database.run(
            "SELECT number, sha256, seed, width, height FROM pictures WHERE job = ? ORDER BY number", job
        )
        return [StoredPicture(*row) for row in rows]

    def ahead(self, jobs: Sequence[Job]) -> dict[str, tuple[int, int]]:
        """How many jobs of its model come before each of those that wait, and their steps; by id."""
        waiting = [job.id for job in jobs if job.status == QUEUED]
        if not waiting:
            return {}
        rows = self._database.run(  # one pass over the queue, which may be long
            "SELECT id, before, steps_before FROM (SELECT id, COUNT(*) OVER turn - 1 AS before, "
            "SUM(steps) OVER turn - steps AS steps_before FROM jobs WHERE status = ? "
            "WINDOW turn AS (PARTITION BY model ORDER BY priority DESC, number ROWS UNBOUNDED PRECEDING)) AS queue "
            f"WHERE id IN ({', '.join('?' * len(waiting))})",
            QUEUED, *waiting,
        )  # fmt: skip
        return {row[0]: (int(row[1]), int(row[2])) for row in rows}

    def count(self, status: str) -> int:
        return int(self._database.run("SELECT COUNT(*) FROM jobs WHERE status = ?", status)[0][0])

    def forget(self, before: float, job: str | None = None) -> list[str]:
        """Jobs that ended before then, or one that has ended; gives the names of files that nothing needs any more,
        which are adrift until they are settled."""
        one, values = ("", ()) if job is None else (" AND id = ?", (job,))
        with self._database.transaction():
            rows = self._database.run(
                f"SELECT id, inputs FROM jobs WHERE ended < ? AND status NOT IN (?, ?){one} LIMIT 500",
                before, QUEUED, RUNNING, *values,
            )  # fmt: skip
            hashes = {each for row in rows for each in input_files(json.loads(row[1]))}
            for row in rows:
                hashes |= {picture.sha256 for picture in self.pictures(row[0])}
                self._database.run("DELETE FROM pictures WHERE job = ?", row[0])
                self._database.run("DELETE FROM jobs WHERE id = ?", row[0])
            left = [each for each in hashes if not self._needed(each)]
            self._loosen(left, 0.0)
            return left

    def _needed(self, sha256: str) -> bool:
        found = self._database.run("SELECT 1 FROM pictures WHERE sha256 = ? LIMIT 1", sha256)
        return bool(found or self._database.run("SELECT 1 FROM jobs WHERE inputs LIKE ? LIMIT 1", f"%{sha256}%"))


def input_files(inputs: Mapping[str, Any]) -> Sequence[str]:
    """Of all that came with a job."""
    single = [name for group in SINGLE if (name := inputs.get(group))]
    return [*inputs.get("pictures", ()), *single, *inputs.get("controls", ())]


def new_id() -> str:
    """Of a job; nobody guesses it."""
    return f"job_{secrets.token_hex(12)}"


def _job(row: Row) -> Job:
    values = dict(zip(_COLUMNS, row, strict=True))
    for name in ("fields", "inputs", "error"):
        values[name] = None if values[name] is None else json.loads(values[name])
    return Job(**values)
