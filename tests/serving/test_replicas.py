"""Servers behind one address: how many, and that one may die. ``pip install 'sanakit[ray]'`` for the second."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
from collections import Counter
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.serving.jobs.conftest import Cluster, Killable, postgres  # noqa: F401 (a fixture)

from sanakit.cli.serving.building import Building
from sanakit.cli.serving.options import AddressOptions, KeepingOptions, LaneOptions, ReplicaOptions
from sanakit.common.errors import RequestError
from sanakit.serving.jobs.postgres import Postgres
from sanakit.serving.replicas import Replicas, wanted_replicas


def test_there_are_as_many_as_the_queue_asks_for() -> None:
    told = {"pictures": {"a": 3.0, "b": 2.0}, "jobs": {"a": 11.0, "b": 12.0}}  # all count the jobs of one store
    context = SimpleNamespace(aggregated_metrics=told, config=SimpleNamespace(target_ongoing_requests=4.0))
    assert wanted_replicas(context)[0] == 5
    context.aggregated_metrics = None
    assert wanted_replicas(context)[0] == 0


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(RequestError, match="--max-replicas 1 is fewer"):
        Replicas(least=2, most=1, work=1.0, resources={})
    address, keeping = AddressOptions(), KeepingOptions()
    for wrong, where, told in (
        (ReplicaOptions(max_replicas=2), address, "belong to --replicas"),
        (ReplicaOptions(replicas=2), AddressOptions(port=0), "--port 0"),
        (ReplicaOptions(replicas=2, cluster="auto"), address, "in PostgreSQL"),
    ):
        with pytest.raises(RequestError, match=told):
            wrong.check(where, keeping)


def test_each_has_the_cores_of_its_lanes() -> None:
    lanes = LaneOptions(lanes=2, threads=3, max_batch=8)
    keeping, limits = KeepingOptions(), AddressOptions().limits({})
    for device, resources, work in (
        ("cpu", {"num_cpus": 6.0}, 4.0),
        ("cuda", {"num_cpus": 1.0, "num_gpus": 1.0}, 16.0),
    ):
        building = Building(model="m", options={"device": device}, limits=limits, lanes=lanes, keeping=keeping)
        found = building.replicas(ReplicaOptions(replicas=2))
        assert (found.resources, found.work, found.most) == (resources, work, 2)


def test_a_second_signal_ends_the_process_at_once() -> None:
    asked = (
        "import time; from sanakit.serving.replicas import _signalled; ended = _signalled();"
        "print('there', flush=True); ended.wait(); print('once', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", asked], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for word in ("there", "once"):
        assert process.stdout.readline().strip() == word
        process.send_signal(signal.SIGINT)
    assert process.wait(20) == -signal.SIGINT


@pytest.mark.slow
def test_two_replicas_of_which_one_is_killed_lose_no_job(
    tiny_model: Path,
    postgres: Cluster,  # noqa: F811
    tmp_path: Path,
) -> None:
    pytest.importorskip("ray.serve")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store, chance, accepted = postgres.database(), random.Random(0), list[str]()
    places = ("--jobs", store, "--results", str(tmp_path), "--replicas", "2")
    server = Killable(tiny_model, *places, port=port, lanes=1)
    server.start()
    database = Postgres(store)
    try:
        for _ in range(20):
            body = {"prompt": "a", "num_inference_steps": chance.choice([60, 300]), "solver": "flow-euler"}
            accepted.append(server.ask("/v1/jobs", body)["id"])
            time.sleep(0.1)
        owners = [row[0] for row in database.run("SELECT DISTINCT owner FROM jobs WHERE status = 'running'")]
        assert len(owners) == 2
        os.kill(int(owners[0].split("-")[-2]), signal.SIGKILL)
        end, found = time.monotonic() + 300, dict[str, str]()
        while time.monotonic() < end and set(found.values()) != {"completed"}:
            with suppress(urllib.error.URLError):  # while Ray has not noticed yet
                found = {job: server.ask(f"/v1/jobs/{job}")["status"] for job in accepted}
            time.sleep(1)
        assert Counter(found.values()) == {"completed": 20}
        (rows,) = database.run("SELECT COUNT(*), COUNT(DISTINCT job) FROM pictures")
        assert tuple(rows) == (20, 20)
        assert server.process is not None
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(90) == 0
    finally:
        database.close()
        if server.process is not None and server.process.poll() is None:
            server.kill()
