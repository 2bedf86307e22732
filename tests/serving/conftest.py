"""A lane in a thread of the test's own process, with the tiny model."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection, Pipe

import pytest

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.pipelines.text_to_image import TextToImagePipeline
from sanakit.serving.lane import Lane
from sanakit.serving.messages import Stop
from sanakit.serving.previews import Projection
from sanakit.serving.workers import fit_previews


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
