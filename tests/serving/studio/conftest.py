"""A studio over the tiny model: its address, and its gallery."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import httpx2
import pytest
import uvicorn

from sanakit.serving.http.app import JobFiles, make_app
from sanakit.serving.service import Service
from sanakit.serving.studio.gallery import Gallery
from sanakit.serving.studio.routes import studio_routes


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    return Gallery(tmp_path_factory.mktemp("gallery"))


@pytest.fixture(scope="session")
def studio_address(service: Service, gallery: Gallery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    jobs = JobFiles(folder=tmp_path_factory.mktemp("jobs"), on_picture=gallery.keep)
    app = make_app(service, jobs=jobs, routers=[studio_routes(service, gallery, local=True)])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def http(studio_address: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=studio_address, timeout=60) as client:
        yield client
