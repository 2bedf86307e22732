"""The application: all endpoints over one service, behind the guard."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool

from sanakit.common.version import __version__
from sanakit.serving.errors import ApiError, answer_errors
from sanakit.serving.http.access import Guard, Limits
from sanakit.serving.http.asked import read_any
from sanakit.serving.http.body import Body
from sanakit.serving.http.facts import fact_routes
from sanakit.serving.http.images import image_routes
from sanakit.serving.http.jobs import Counter, by_address, in_full, job_routes
from sanakit.serving.http.videos import video_routes
from sanakit.serving.jobs.database import Sqlite
from sanakit.serving.jobs.desk import Desk, OnPicture
from sanakit.serving.jobs.postgres import Postgres, is_postgres
from sanakit.serving.jobs.shelf import Presence, Shelf
from sanakit.serving.jobs.store import JobStore
from sanakit.serving.places import place_at
from sanakit.serving.service import Service
from sanakit.serving.wishes import Files, read_wish


def make_app(
    service: Service, limits: Limits | None = None, *, jobs: JobFiles | None = None, routers: Sequence[APIRouter] = ()
) -> FastAPI:
    """Args:
    jobs: where they are kept; None for a server without.
    routers: of others, such as a page, added last.
    """
    limits = limits or Limits()
    counter = None if jobs is None else Counter(jobs.desk(service, limits), limits)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        if counter is not None:
            counter.desk.start()
        yield
        if counter is not None:
            await run_in_threadpool(counter.desk.stop)

    app = FastAPI(title="sanakit", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.desk = None if counter is None else counter.desk
    answer_errors(app)
    own = [fact_routes(service), video_routes(service, counter)]
    if counter is None:
        own.append(image_routes(service, limits))
    else:
        own += [image_routes(service, limits, partial(_remembered, counter)), job_routes(counter)]
    for router in (*own, *routers):
        app.include_router(router)
    app.add_middleware(Guard, limits=limits, on_refused=lambda reason: service.metrics.rejected(reason).inc())
    return app


@dataclass(frozen=True, kw_only=True, slots=True)
class JobFiles:
    """Where jobs are kept, for how many seconds after they ended, and who gets their pictures too.

    Args:
        jobs: a folder for an SQLite file, or the address of a PostgreSQL.
        results: a folder or a URL of fsspec for pictures and latents; the same folder if it is None.
    """

    jobs: Path | str
    results: Path | str | None = None
    keep: float = 7 * 86_400.0
    on_picture: OnPicture | None = None

    def desk(self, service: Service, limits: Limits) -> Desk:
        """Raises OutputError where one of both cannot be reached or written."""

        def plan(fields: Mapping[str, Any], files: Files) -> tuple[Any, Any]:
            asked = read_any(service, limits, Body(dict(fields), files))
            return asked.plans, asked.call

        shared = is_postgres(self.jobs)
        store = JobStore(Postgres(str(self.jobs)) if shared else Sqlite(Path(self.jobs) / "jobs.sqlite"))
        presence = Presence(None if shared else Path(self.jobs))
        shelf = Shelf(place_at(self.results or self.jobs))
        shelf.check()
        return Desk(service, store, shelf, presence, plan, keep=self.keep, on_picture=self.on_picture)


async def _remembered(counter: Counter, request: Request, body: Body) -> Response | None:
    key, wish = request.headers.get("idempotency-key"), read_wish(body.fields)
    if key is None and wish.response_format != "url":
        return None
    if wish.stream:
        raise ApiError(400, "a stream has neither a second time nor addresses; leave stream out, or else the "
                       "Idempotency-Key and response_format=url.", param="stream", code="invalid_value")  # fmt: skip
    answer = by_address if wish.response_format == "url" else in_full
    return await answer(request, counter, await counter.finished(await counter.accept(request, body, key)))
