"""``/v1/images/generations`` and ``/v1/images/edits``."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from sanakit.serving.errors import ApiError, as_api_error
from sanakit.serving.http.access import Limits
from sanakit.serving.http.answers import event, pictures_of, response_of, stream_of
from sanakit.serving.http.asked import Asked, read_asked
from sanakit.serving.http.body import Body, read_body
from sanakit.serving.service import ClientGoneError, Order, Service
from sanakit.serving.wishes import ImageWish


def body_of(wish: type[BaseModel], *files: str, required: bool = True) -> dict[str, Any]:
    """How OpenAPI says it: JSON without files, a form with them; both where no file is ``required``."""
    schema = _inlined(wish.model_json_schema())
    form = {**schema, "properties": {**schema["properties"], **dict.fromkeys(files, _FILE)}}
    if files and required:
        form["required"] = [*schema["required"], files[0]]
    kinds: dict[str, Any] = {} if files and required else {"application/json": {"schema": schema}}
    kinds |= {"multipart/form-data": {"schema": form}} if files else {}
    return {"requestBody": {"required": True, "content": kinds}}


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """Without references, which OpenAPI looks for in a place of its own."""
    parts = schema.pop("$defs", {})

    def full(node: Any) -> Any:
        if isinstance(node, list):
            return [full(each) for each in node]
        if not isinstance(node, dict):
            return node
        name = str(node.get("$ref", "")).rpartition("/")[2]
        return full(parts[name]) if name else {key: full(value) for key, value in node.items()}

    return dict(full(schema))


_FILE = {"type": "string", "format": "binary"}
JSON_BODY = body_of(ImageWish)
FORM_BODY = body_of(ImageWish, "image", "mask", "control")
ERROR = {
    "description": "why not",
    "content": {"application/json": {"schema": {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }},
    }}},
}  # fmt: skip
ERRORS: dict[int | str, dict[str, Any]] = {"4XX": ERROR, "5XX": ERROR}


Remembered = Callable[[Request, Body], Awaitable[Response | None]]
"""Answers what is to be remembered, such as a request with an ``Idempotency-Key``; None for all else."""


async def never(request: Request, body: Body) -> None:
    """Of a server without jobs."""


def image_routes(service: Service, limits: Limits, remembered: Remembered = never) -> APIRouter:
    """Both endpoints."""

    async def makes_pictures() -> None:
        if service.makes_clips:
            raise ApiError(400, f"{service.name} makes clips; ask for one at /v1/videos.", code="wrong_endpoint")

    router = APIRouter(responses=ERRORS, tags=["images"], dependencies=[Depends(makes_pictures)])

    @router.post("/v1/images/generations", openapi_extra=JSON_BODY)
    async def generations(request: Request) -> Response:
        """Pictures of a prompt."""
        body = await read_body(request)
        if body.files.pictures or body.files.mask:
            raise ApiError(
                400, "pictures are edited at /v1/images/edits; leave image and mask out here.", param="image"
            )
        return await remembered(request, body) or await _answer(request, body, "image_generation")

    @router.post("/v1/images/edits", openapi_extra=FORM_BODY)
    async def edits(request: Request) -> Response:
        """A picture made anew, as a whole or where a mask says so."""
        body = await read_body(request)
        if not body.files.pictures:
            raise ApiError(
                400, "image is missing; send a picture as a file of a form.", param="image",
                code="missing_required_parameter",
            )  # fmt: skip
        return await remembered(request, body) or await _answer(request, body, "image_edit")

    async def _answer(request: Request, body: Body, kind: str) -> Response:
        start, found = time.perf_counter(), await run_in_threadpool(read_asked, service, limits, body)
        order = Order(service, found.plans, found.call, request.is_disconnected)
        if found.wish.stream:
            order.__enter__()  # what is refused is refused with a status of its own
            return StreamingResponse(_closing(service, order, found, kind), media_type="text/event-stream")
        with order:
            data = await pictures_of(order, found.plans)
        service.metrics.latency().observe(time.perf_counter() - start)
        service.metrics.finished("stop").inc()
        return JSONResponse(response_of(data, found.wish, order.notices))

    return router


async def _closing(service: Service, order: Order, found: Asked[ImageWish], kind: str) -> AsyncIterator[bytes]:
    """The stream, which an error ends; where the client goes away, its pictures are cancelled."""
    start, told = time.perf_counter(), False
    try:
        async for part in stream_of(order, found.plans, found.wish, kind):
            if not told:
                service.metrics.first_preview().observe(time.perf_counter() - start)
                told = True
            yield part
        service.metrics.latency().observe(time.perf_counter() - start)
        service.metrics.finished("stop").inc()
    except ClientGoneError:
        service.metrics.finished("abort").inc()
    except Exception as error:
        yield event("error", as_api_error(error).body)  # which raises in OpenAI's clients
    finally:
        order.__exit__()
