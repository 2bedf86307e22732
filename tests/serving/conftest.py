"""Lanes in threads of the test's own process, with the tiny model; and a server over them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.connection import Connection, Pipe
from pathlib import Path

import openai
import pytest
import uvicorn
from fastapi import FastAPI

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.checkpoints.opening import open_model
from sanakit.pipelines.decoding.previews import Projection
from sanakit.pipelines.text_to_image import TextToImagePipeline
from sanakit.serving.http.access import Limits
from sanakit.serving.http.app import make_app
from sanakit.serving.lane import Lane
from sanakit.serving.messages import Stop
from sanakit.serving.service import Bounds, Service
from sanakit.serving.workers import WorkerLane, Workers, fit_previews


@pytest.fixture(scope="session")
def tiny_previews(tiny_bundle: ModelBundle) -> Projection:
    return fit_previews(TextToImagePipeline(tiny_bundle))


@pytest.fixture
def connection(tiny_bundle: ModelBundle, tiny_previews: Projection) -> Iterator[Connection]:
    """Leads to a lane."""
    ours, theirs = Pipe()
    thread = threading.Thread(target=Lane(TextToImagePipeline(tiny_bundle), theirs, tiny_previews).run)
    thread.start()
    yield ours
    ours.send(Stop())
    thread.join()


class ThreadLanes(Workers):
    """Lanes that are no processes."""

    def __init__(self, bundle: ModelBundle, previews: Projection) -> None:
        super().__init__(lambda: TextToImagePipeline(bundle), num_lanes=1, threads=1)
        self._bundle, self._previews = bundle, previews

    def _new_lane(self) -> WorkerLane:
        ours, theirs = Pipe()
        lane = Lane(TextToImagePipeline(self._bundle), theirs, self._previews)
        threading.Thread(target=lane.run, daemon=True).start()
        return WorkerLane(ours, 1)


@pytest.fixture(scope="session")
def lanes(tiny_bundle: ModelBundle, tiny_previews: Projection) -> Iterator[ThreadLanes]:
    lanes = ThreadLanes(tiny_bundle, tiny_previews)
    lanes.start()
    yield lanes
    lanes.close()


@pytest.fixture(scope="session")
def service(tiny_model: Path, lanes: ThreadLanes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folders = {name: tmp_path_factory.mktemp(name) for name in ("adapters", "controls")}
    service = Service(open_model(tiny_model), lanes, **folders, bounds=Bounds(max_waiting=50, memory=2**30))
    yield service
    service.stop(0)


@contextmanager
def _served(app: FastAPI) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="session")
def served() -> Callable[[FastAPI], AbstractContextManager[str]]:
    """An application at an address of its own, within."""
    return _served


@pytest.fixture(scope="session")
def address(service: Service) -> Iterator[str]:
    """Of a server with a key."""
    with _served(make_app(service, Limits(keys={"secret-of-tests": "tests"}, body=2**20, pixels=2048**2))) as address:
        yield address


@pytest.fixture
def client(address: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{address}/v1", api_key="secret-of-tests", max_retries=0)
