"""The store alone: turns, leases, and that only the owner's word counts."""

from __future__ import annotations

import hashlib
import pickle
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.serving.jobs.conftest import Cluster

from sanakit.cli.serving.options import KeepingOptions
from sanakit.common.errors import OutputError, RequestError
from sanakit.serving.jobs.database import Database, Sqlite
from sanakit.serving.jobs.postgres import Postgres
from sanakit.serving.jobs.shelf import Presence, Shelf, sha256_of
from sanakit.serving.jobs.store import COMPLETED, Job, JobStore, ReusedKeyError, StoredPicture
from sanakit.serving.places import Place, place_at

PICTURE = StoredPicture(0, "a" * 64, 7, 64, 32)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobStore]:
    """Of both engines."""
    if request.param == "sqlite":
        database: Database = Sqlite(tmp_path / "jobs.sqlite")
    else:
        database = Postgres(request.getfixturevalue("postgres").database())
    yield JobStore(database)
    database.close()


def pickle_copy(place: Place) -> Place:
    """As it comes to a lane."""
    return pickle.loads(pickle.dumps(place))


def accept(store: JobStore, name: str, priority: int = 0, **facts: object) -> Job:
    job = Job(id=name, client="c", model="m", kind="image", fields={"prompt": name}, priority=priority, steps=10)
    return store.accept(replace(job, **facts))  # type: ignore[arg-type]


def test_jobs_are_claimed_in_turn_and_once(store: JobStore) -> None:
    for name, priority in (("a", 0), ("b", 0), ("urgent", 5), ("other model", 9)):
        accept(store, name, priority, model="n" if name == "other model" else "m")
    assert store.ahead(store.listed("c")) == {
        "urgent": (0, 0), "a": (1, 10), "b": (2, 20), "other model": (0, 0),
    }  # fmt: skip
    claimed = [store.claim(owner, "m", now=0.0, until=60.0) for owner in "xyxy"]
    assert [job and job.id for job in claimed] == ["urgent", "a", "b", None]


def test_who_has_lost_a_lease_has_no_say_any_more(store: JobStore) -> None:
    accept(store, "a")
    assert store.claim("x", "m", now=0.0, until=60.0)
    assert store.renew("x", 80.0) == {"a"}
    assert store.claim("y", "m", now=70.0, until=99.0) is None
    assert store.claim("y", "m", now=81.0, until=141.0)
    assert not store.keep_picture("x", "a", PICTURE)
    assert not store.end("x", "a", COMPLETED, 90.0)
    assert store.renew("x", 150.0) == set()
    for _ in range(2):
        assert store.keep_picture("y", "a", PICTURE)
    assert not store.keep_picture("y", "a", replace(PICTURE, sha256="b" * 64))  # the first is what counts
    assert store.end("y", "a", COMPLETED, 91.0)
    assert not store.end("y", "a", COMPLETED, 92.0)
    assert store.pictures("a") == [PICTURE]
    found = store.get("a")
    assert found is not None
    assert (found.status, found.progress, found.ended, found.owner) == (COMPLETED, 1.0, 91.0, None)


def test_an_owner_does_not_claim_what_it_has_even_when_the_clock_jumps(store: JobStore) -> None:
    accept(store, "a")
    assert store.claim("x", "m", now=0.0, until=60.0)
    assert store.claim("x", "m", now=10.0**9, until=10.0**9 + 60) is None


def test_a_clock_that_is_put_back_keeps_no_job_waiting(store: JobStore) -> None:
    accept(store, "a")
    accept(store, "b")
    assert store.claim("x", "m", now=7200.0, until=7230.0)
    assert store.claim("x", "m", now=7200.0, until=7230.0)
    store.release("x", "b", not_before=7205.0)
    assert [store.claim("y", "m", now=3600.0, until=3630.0).id for _ in range(2)] == ["a", "b"]  # type: ignore[union-attr]


def test_what_is_given_back_waits_as_long_as_it_was_told(store: JobStore) -> None:
    accept(store, "a")
    store.claim("x", "m", now=0.0, until=60.0)
    store.release("x", "a", not_before=5.0)
    assert store.claim("x", "m", now=4.0, until=60.0) is None
    assert store.claim("x", "m", now=5.0, until=60.0)


def test_a_key_gives_the_job_of_then_or_an_error(store: JobStore) -> None:
    job = Job(id="a", client="c", model="m", kind="image", fields={}, fingerprint="f")
    assert store.accept(job, "key").id == "a"
    assert store.accept(replace(job, id="b"), "key").id == "a"
    assert store.accept(replace(job, id="c", client="d"), "key").id == "c"
    with pytest.raises(ReusedKeyError, match="another body"):
        store.accept(replace(job, id="b", fingerprint="g"), "key")


def test_jobs_are_cancelled_until_they_end_and_only_ended_ones_forgotten(store: JobStore) -> None:
    accept(store, "a")
    accept(store, "b", inputs={"pictures": ["b" * 64]})
    accept(store, "c")
    for _ in range(2):
        store.claim("x", "m", now=0.0, until=60.0)
    assert store.cancel("b", 1.0)
    assert store.cancel("c", 1.0)
    assert not store.cancel("c", 1.0)
    assert store.renew("x", 90.0) == {"a"}
    store.keep_picture("x", "a", PICTURE)
    assert store.forget(10.0) == ["b" * 64]
    store.end("x", "a", COMPLETED, 2.0)
    assert not store.cancel("a", 2.0)
    assert store.forget(2.0) == []
    assert store.forget(10.0) == ["a" * 64]
    assert store.listed("c") == []


def test_files_that_no_job_names_are_adrift_until_they_are_settled(store: JobStore) -> None:
    files = [each * 64 for each in "bcd"]
    store.announce(files)
    store.announce(files[:1])
    assert store.adrift(store.now() - 60) == []
    accept(store, "a", inputs={"pictures": files[:1]})
    store.settle(files[1:2])
    for _ in range(2):
        assert store.adrift(store.now() + 60) == files[2:]
    store.settle(files)
    assert store.cancel("a", 1.0)
    assert store.forget(2.0) == files[:1] == store.adrift(0.5)  # until somebody has removed it
    store.settle(files)
    assert store.adrift(store.now() + 60) == []


def test_ten_thousand_jobs_are_no_burden(store: JobStore) -> None:
    with store._database.transaction():
        for number in range(10_000):
            store._database.run(
                "INSERT INTO jobs (id, client, model, kind, fields, inputs, fingerprint, status, priority, steps, "
                "progress, created, not_before) VALUES (?, 'c', 'm', 'image', '{}', '{}', '', 'queued', 0, 1, 0, 0, 0)",
                str(number),
            )
    claimed = [store.claim("x", "m", now=0.0, until=60.0) for _ in range(20)]
    assert [job.id for job in claimed if job] == [str(number) for number in range(20)]
    newest = store.listed("c", limit=2)
    assert [job.id for job in newest] == ["9999", "9998"]
    assert [job.id for job in store.listed("c", after=newest[1].number, oldest_first=True)] == ["9999"]


def test_a_database_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    store = JobStore(Sqlite(tmp_path / "jobs.sqlite"))
    (tmp_path / "file").write_text("no database, and no folder")
    for path in (tmp_path / "file", tmp_path / "file" / "jobs.sqlite"):
        with pytest.raises(OutputError, match="cannot be written"):
            Sqlite(path)
    store._database.run("PRAGMA max_page_count=1")
    with pytest.raises(OutputError, match="full"):
        accept(store, "large", fields={"prompt": "x" * 1_000_000})
    store._database.run("PRAGMA max_page_count=100000")
    assert accept(store, "after").id == "after"


@pytest.mark.slow
def test_a_database_that_is_away_is_not_tried_by_everybody_in_turn(
    postgres: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sanakit.serving.jobs.postgres._PATIENCE", 0.0)
    monkeypatch.setattr("sanakit.serving.jobs.postgres._PAUSE", 0.5)
    database, tried = Postgres(postgres.database()), list[float]()
    connect = database._psycopg.connect

    def away(*words: object, **options: object) -> None:
        tried.append(time.monotonic())
        raise database._psycopg.OperationalError("nobody listens")

    monkeypatch.setattr(database._psycopg, "connect", away)
    database.close()
    for _ in range(20):
        with pytest.raises(OutputError, match="nobody listens"):
            database.run("SELECT 1")
    assert len(tried) < 10
    monkeypatch.setattr(database._psycopg, "connect", connect)
    time.sleep(0.5)
    assert database.run("SELECT 1") == [(1,)]
    database.close()


@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_files_are_kept_with_their_hash_and_damage_is_seen(tmp_path: Path, kind: str) -> None:
    place = place_at(tmp_path if kind == "folder" else f"memory://{tmp_path.name}/files")
    shelf = Shelf(place)
    first, name = shelf.put(b"content"), shelf.put(b"content")
    shelf.remove([first])  # which nobody else has
    assert shelf.get(name) == b"content"
    assert sha256_of(name) == hashlib.sha256(b"content").hexdigest()
    with place.writing(f"pictures/{name[:2]}/{name}") as path:
        path.write_bytes(b"damaged")
    with pytest.raises(OutputError, match="another hash"):
        shelf.get(name)
    shelf.remove([name, "0" * 64])
    with pytest.raises(OutputError, match="cannot be read"):
        shelf.get(name)


@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_latents_on_their_way_are_dropped_with_their_job_alone(tmp_path: Path, kind: str) -> None:
    shelf = Shelf(pickle_copy(place_at(tmp_path if kind == "folder" else f"memory://{tmp_path.name}/latents")))
    shelf.drop_latents("a")  # where there is none yet
    kept = {key: shelf.latent(key) for key in ("a-0", "a-1", "b-0")}
    for each in kept.values():
        with each.place.writing(each.name) as path:
            path.write_bytes(b"latent")
    shelf.drop_latents("a")
    there = dict.fromkeys(kept, False)
    for key, each in kept.items():
        with each.place.reading(each.name) as found:
            there[key] = found is not None
    assert there == {"a-0": False, "a-1": False, "b-0": True}


def test_a_place_that_nothing_reaches_is_told() -> None:
    with pytest.raises(OutputError, match="nowhere://x: it cannot be reached"):
        place_at("nowhere://x")


def test_an_owner_that_is_gone_is_seen(tmp_path: Path) -> None:
    first, second = Presence(tmp_path), Presence(tmp_path)
    assert not second.is_gone(first.name)
    assert not second.is_gone(second.name)
    assert first._file is not None
    first._file.close()  # as the end of its process does
    assert second.gone() == [first.name]
    assert second.gone() == []
    assert not second.is_gone("of another machine")


@pytest.mark.parametrize(
    ("places", "told"),
    [
        ({"jobs": "postgresql://db/jobs"}, "holds no files; give --results"),
        ({"jobs": "s3://bucket/jobs", "results": "s3://bucket"}, "not s3://"),
    ],
)
def test_places_that_cannot_be_used_together_are_refused(places: dict[str, str], told: str) -> None:
    with pytest.raises(RequestError, match=told):
        KeepingOptions(**places).check()
