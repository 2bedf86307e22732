"""Lanes as processes, which takes seconds of importing."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sanakit.checkpoints.opening import open_model
from sanakit.cli.serving.building import Loading
from sanakit.common.errors import SanakitError
from sanakit.pipelines.request import GenerationRequest
from sanakit.serving.messages import Done, FileForm, FromLane, Step
from sanakit.serving.service import Bounds, Call, Service
from sanakit.serving.workers import WorkerLane, Workers


@pytest.mark.slow
@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lane_that_ends_or_hangs_is_replaced_and_its_picture_finished(
    tiny_model: Path, fault: signal.Signals
) -> None:
    workers = Workers(Loading(str(tiny_model), {"device": "cpu"}, 1), num_lanes=2, threads=1)
    workers.start()
    service = Service(open_model(tiny_model), workers, bounds=Bounds(silence=2.0))
    service.start()
    done, begun, told = threading.Event(), threading.Event(), list[FromLane]()

    def listen(message: FromLane) -> None:
        told.append(message)
        (done if isinstance(message, Done) else begun).set()

    try:
        plans = service.plan([GenerationRequest(prompt="a", num_inference_steps=400, solver="flow-euler")])
        service.submit(service.tickets(plans, Call(form=FileForm()), listen))
        assert begun.wait(30)
        (ticket,) = service.engine.running.values()
        assert isinstance(ticket.lane, WorkerLane)
        assert ticket.lane.pid is not None
        os.kill(ticket.lane.pid, fault)
        assert done.wait(60)
        assert [message.index for message in told if isinstance(message, Step)].count(0) >= 2
        assert service.engine.replaced == 1
        assert service.engine.hung == (fault == signal.SIGSTOP)
        assert len(workers.alive()) == 2
    finally:
        service.stop(0)
        workers.close()


@pytest.mark.slow
def test_a_model_is_read_again_while_a_picture_is_made(tiny_model: Path) -> None:
    workers = Workers(Loading(str(tiny_model), {"device": "cpu"}, 1), num_lanes=1, threads=1)
    workers.start()
    service, told = Service(open_model(tiny_model), workers), list[FromLane]()
    (old,) = workers.alive()
    service.start()
    try:
        plans = service.plan([GenerationRequest(prompt="a", num_inference_steps=900, solver="flow-euler")])
        service.submit(service.tickets(plans, Call(form=FileForm()), told.append))
        service.reload(lambda: open_model(tiny_model))
        wait_until(lambda: old not in workers.alive())
        wait_until(lambda: service.engine.idle)
        assert isinstance(told[-1], Done)
        assert service.engine.replaced == 0
        wait_until(lambda: not workers._leaving)
        service.submit(
            service.tickets(service.plan([GenerationRequest(prompt="a")]), Call(form=FileForm()), told.append)
        )
        wait_until(lambda: service.engine.idle)
        assert isinstance(told[-1], Done)
        service.reload(lambda: open_model("nowhere"))
        assert service.ready
    finally:
        service.stop(0)
        workers.close()


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 90
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_a_model_that_cannot_be_loaded_is_told() -> None:
    workers = Workers(Loading("nowhere", {"device": "cpu"}, 1), num_lanes=1, threads=1)
    with pytest.raises(SanakitError, match="nowhere"):
        workers.start()
