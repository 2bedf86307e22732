"""The application: all endpoints over one service, behind the guard."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI, Request

from sanakit.common.version import __version__
from sanakit.serving.http.access import Guard, Limits
from sanakit.serving.http.errors import ApiError, answer_errors
from sanakit.serving.http.facts import fact_routes
from sanakit.serving.http.images import ERRORS, image_routes
from sanakit.serving.service import Service


def make_app(service: Service, limits: Limits | None = None, *, routers: Sequence[APIRouter] = ()) -> FastAPI:
    """Args:
    routers: of others, such as a page, added last.
    """
    limits = limits or Limits()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if not service.ready:
            service.start()
        yield

    app = FastAPI(title="sanakit", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    answer_errors(app)
    for router in (image_routes(service, limits), fact_routes(service), _not_yet(), *routers):
        app.include_router(router)
    app.add_middleware(Guard, limits=limits)
    return app


def _not_yet() -> APIRouter:
    """The community's contract of videos, which no model of ours makes yet."""
    router = APIRouter(responses=ERRORS, tags=["videos"])

    @router.api_route("/v1/videos", methods=["GET", "POST"])
    @router.api_route("/v1/videos/{rest:path}", methods=["GET", "POST", "DELETE"])
    async def videos(request: Request) -> None:
        """Answers 501."""
        raise ApiError(501, "this server makes no videos yet; it makes pictures at /v1/images/generations.",
                       code="not_implemented")  # fmt: skip

    return router
