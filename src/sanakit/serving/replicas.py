"""Several servers behind one address: replicas of Ray Serve, each with its own lanes, that share the store of jobs."""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from fastapi import FastAPI

from sanakit.common.errors import RequestError, first_line, optional
from sanakit.serving.service import Service

NAME = "sanakit"
_EXTRA = "replicas need Ray Serve; install it with: pip install 'sanakit[ray]'"
_AT_ONCE = 10_000  # requests that a replica holds: it has a queue of its own, and says itself when that is full


@dataclass(frozen=True, slots=True)
class Started:
    """A server without an address; ``close`` ends its lanes."""

    app: FastAPI
    service: Service
    close: Callable[[], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Replicas:
    """How many there are.

    Args:
        most: there are more where pictures wait, up to so many.
        work: pictures in lanes and in the queue that one replica is to have.
        resources: of Ray, for each.
        cluster: the address of one to join, ``auto`` for that of this machine; None for one of our own.
    """

    least: int
    most: int
    work: float
    resources: Mapping[str, float]
    cluster: str | None = None

    def __post_init__(self) -> None:
        if self.most < self.least:
            raise RequestError(
                f"--max-replicas {self.most} is fewer than --replicas {self.least}; it is the most that there may be."
            )


class Replica:
    """A server in a process of Ray's.

    Args:
        start: gives it; sent to that process.
        stop_within: seconds for what runs when the end comes.
    """

    def __init__(self, start: Callable[[], Started], stop_within: float) -> None:
        self._started, self._stop_within = start(), stop_within

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Asked for by Ray."""
        app, service = self._started.app, self._started.service
        inner = app.router.lifespan_context

        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
            async with inner(app) as state:
                yield state
                await asyncio.to_thread(service.stop, self._stop_within)
            self._started.close()

        app.router.lifespan_context = lifespan
        return app

    def check_health(self) -> None:
        """Raises where this one is to be replaced."""
        if not self._started.service.ready and self._started.service.engine.accepting:
            raise RuntimeError("the engine does not run, or has no lane")

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """What there is to do: here, and in the store that all have."""
        engine, desk = self._started.service.engine, self._started.app.state.desk
        jobs = 0.0 if desk is None else await asyncio.to_thread(desk.num_queued)
        return {"pictures": float(len(engine.running) + len(engine.waiting)), "jobs": 0.0 if math.isnan(jobs) else jobs}


def wanted_replicas(context: Any) -> tuple[float, dict[str, Any]]:
    """By the length of the queue: pictures of all replicas, and jobs of the store, which each of them counts. Ray sees
    to limits and to delays."""
    told = context.aggregated_metrics or {}
    pictures, jobs = sum(told.get("pictures", {}).values()), max(told.get("jobs", {}).values(), default=0.0)
    return math.ceil((pictures + jobs) / context.config.target_ongoing_requests), {}


def serve_replicas(
    start: Callable[[], Started],
    replicas: Replicas,
    *,
    host: str,
    port: int,
    stop_within: float,
    on_ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve until SIGINT or SIGTERM comes.

    Raises:
        MissingExtraError: Ray Serve is not installed.
        RequestError: the replicas could not be started.
    """
    ray, serve = optional("ray", _EXTRA), optional("ray.serve", _EXTRA)
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    try:
        ray.init(
            address=replicas.cluster, include_dashboard=None if replicas.cluster else False, log_to_driver=False,
            logging_level="ERROR",
        )  # fmt: skip
    except Exception as error:  # Ray's are of all kinds
        raise RequestError(f"Ray does not start ({first_line(error)}); see its logs, or try again") from error
    ended = _signalled()
    try:
        serve.start(http_options={"host": host, "port": port})
        try:
            serve.run(_deployment(serve, replicas, stop_within).bind(start, stop_within), name=NAME, route_prefix="/")
        except RuntimeError as error:
            raise RequestError(f"the replicas could not be started ({error})") from error
        on_ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")
        ended.wait()
        serve.delete(NAME)  # and not all that runs in a cluster of others
    finally:
        if replicas.cluster is None:
            serve.shutdown()
        ray.shutdown()


def _signalled() -> threading.Event:
    """Set by SIGINT or SIGTERM, for which Ray has handlers of its own; a second one ends the process at once, and Ray
    ends the replicas of a process that is gone."""
    ended = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if ended.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    return ended


def _deployment(serve: Any, replicas: Replicas, stop_within: float) -> Any:
    return serve.deployment(
        serve.ingress()(Replica),
        name=NAME,
        ray_actor_options=dict(replicas.resources),
        max_ongoing_requests=_AT_ONCE,
        autoscaling_config={
            "min_replicas": replicas.least,
            "initial_replicas": replicas.least,
            "max_replicas": replicas.most,
            "target_ongoing_requests": replicas.work,
            "policy": {"policy_function": f"{__name__}:{wanted_replicas.__name__}"},
        },
        health_check_period_s=5,
        health_check_timeout_s=30,
        graceful_shutdown_timeout_s=stop_within + 30,
    )
