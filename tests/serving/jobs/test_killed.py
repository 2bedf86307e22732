"""A server that is killed with -9 at random moments under load: no accepted job is lost, none is done twice.

``SANAKIT_KILLS=100 pytest -m slow tests/serving/jobs/test_killed.py`` for more than the usual few.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.serving.jobs.conftest import Killable

from sanakit.serving.jobs.database import Sqlite

KILLS = int(os.environ.get("SANAKIT_KILLS", "3"))


@pytest.fixture
def server(tiny_model: Path, tmp_path: Path) -> Iterator[Killable]:
    server = Killable(tiny_model, "--jobs", str(tmp_path / "jobs"))
    yield server
    if server.process is not None and server.process.poll() is None:
        server.kill()


@pytest.mark.slow
def test_no_accepted_job_is_lost_or_done_twice(server: Killable, tmp_path: Path) -> None:
    chance, accepted = random.Random(0), list[str]()
    for number in range(KILLS):
        server.start()
        end = time.monotonic() + chance.uniform(0.05, 2.5)
        while time.monotonic() < end:
            body = {"prompt": f"{number}", "num_inference_steps": chance.choice([5, 30, 120]), "solver": "flow-euler",
                    "n": chance.choice([1, 2])}  # fmt: skip
            if chance.random() < 0.3 or len(accepted) <= number:
                accepted.append(server.ask("/v1/jobs", body)["id"])
            time.sleep(chance.uniform(0, 0.3))
        server.kill()
    server.start()
    end = time.monotonic() + 60 + 10 * len(accepted)
    while time.monotonic() < end:
        found = {job: server.ask(f"/v1/jobs/{job}") for job in accepted}
        if all(each["status"] == "completed" for each in found.values()):
            break
        time.sleep(1)
    assert Counter(each["status"] for each in found.values()) == {"completed": len(accepted)}
    assert all(len(each["data"]) == each["request"]["n"] for each in found.values())
    assert len(server.ask("/v1/jobs?limit=100")["data"]) == min(len(accepted), 100)
    assert server.process is not None
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(60) == 0
    database = Sqlite(tmp_path / "jobs" / "jobs.sqlite")
    (rows,) = database.run("SELECT COUNT(*), COUNT(DISTINCT job || '-' || number) FROM pictures")
    assert rows[0] == rows[1] == sum(each["request"]["n"] for each in found.values())
    assert not list((tmp_path / "jobs" / "latents").glob("*.safetensors"))
