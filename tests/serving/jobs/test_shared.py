"""Two servers on one PostgreSQL under load: one is killed, the database is restarted, and no job is lost or doubled."""

from __future__ import annotations

import random
import time
import urllib.error
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from tests.serving.jobs.conftest import Cluster, Killable

from sanakit.serving.jobs.postgres import Postgres


@pytest.mark.slow
def test_one_is_killed_and_the_database_restarted_and_no_job_is_lost_or_doubled(
    tiny_model: Path, postgres: Cluster, tmp_path: Path
) -> None:
    address, chance, accepted = postgres.database(), random.Random(0), list[str]()
    servers = [Killable(tiny_model, "--jobs", address, "--results", str(tmp_path)) for _ in range(2)]
    for server in servers:
        server.start()

    def load(seconds: float, *asked: Killable) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            body = {"prompt": "a", "num_inference_steps": chance.choice([5, 60, 300]), "solver": "flow-euler",
                    "n": chance.choice([1, 2])}  # fmt: skip
            with suppress(urllib.error.HTTPError):  # refused while the database is away, and so not accepted
                accepted.append(chance.choice(asked).ask("/v1/jobs", body)["id"])
            time.sleep(chance.uniform(0.1, 0.5))

    database = Postgres(address)
    try:
        load(4, *servers)
        owners = database.run("SELECT COUNT(DISTINCT owner) FROM jobs WHERE status = 'running'")
        assert owners[0][0] == 2  # both have work
        servers[0].kill()
        load(2, servers[1])
        postgres.restart()
        load(2, servers[1])
        end = time.monotonic() + 120 + 5 * len(accepted)
        while time.monotonic() < end:
            found = {job: servers[1].ask(f"/v1/jobs/{job}") for job in accepted}
            if all(each["status"] == "completed" for each in found.values()):
                break
            time.sleep(1)
        assert Counter(each["status"] for each in found.values()) == {"completed": len(accepted)}
        assert all(len(each["data"]) == each["request"]["n"] for each in found.values())
        (rows,) = database.run("SELECT COUNT(*), COUNT(DISTINCT job || '-' || number) FROM pictures")
        assert rows[0] == rows[1] == sum(each["request"]["n"] for each in found.values())
        assert len(list((tmp_path / "pictures").rglob("*-*"))) == rows[0]
        assert not list((tmp_path / "latents").glob("*.safetensors"))
    finally:
        database.close()
        for server in servers:
            if server.process is not None and server.process.poll() is None:
                server.kill()
