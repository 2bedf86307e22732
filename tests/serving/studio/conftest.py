"""A studio over the tiny model: its address, and its gallery."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from sanakit.serving.http.app import JobFiles, make_app
from sanakit.serving.service import Service
from sanakit.serving.studio.gallery import Gallery
from sanakit.serving.studio.routes import studio_routes


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    return Gallery(tmp_path_factory.mktemp("gallery"))


@pytest.fixture(scope="session")
def studio_address(
    service: Service, gallery: Gallery, served: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    jobs = JobFiles(jobs=tmp_path_factory.mktemp("jobs"), on_picture=gallery.keep)
    with served(
        make_app(service, jobs=jobs, routers=[studio_routes(service, gallery, hosts=("127.0.0.1", "localhost", "::1"))])
    ) as address:
        yield address


@pytest.fixture
def http(studio_address: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=studio_address, timeout=60) as client:
        yield client
