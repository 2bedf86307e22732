"""``/v1/images/generations`` and ``/v1/images/edits``."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from sanakit.pipelines.plan import PicturePlan
from sanakit.serving.errors import ApiError, as_api_error
from sanakit.serving.http.access import Limits
from sanakit.serving.http.answers import event, pictures_of, response_of, stream_of
from sanakit.serving.http.body import Body, read_body
from sanakit.serving.service import Call, ClientGoneError, Order, Service
from sanakit.serving.wishes import ImageWish, Names, as_wishes, read_wish

_SCHEMA = ImageWish.model_json_schema()
_FILE = {"type": "string", "format": "binary"}
_FORM = {**_SCHEMA, "properties": {**_SCHEMA["properties"], "image": _FILE, "mask": _FILE, "control": _FILE}}
_FORM["required"] = [*_SCHEMA["required"], "image"]
JSON_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": _SCHEMA}}}}
FORM_BODY = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}}}
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


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was read and can be done."""

    wish: ImageWish
    plans: Sequence[PicturePlan]
    call: Call


Remembered = Callable[[Request, Body], Awaitable[Response | None]]
"""Answers what is to be remembered, such as a request with an ``Idempotency-Key``; None for all else."""


async def never(request: Request, body: Body) -> None:
    """Of a server without jobs."""


def image_routes(service: Service, limits: Limits, remembered: Remembered = never) -> APIRouter:
    """Both endpoints."""
    router = APIRouter(responses=ERRORS, tags=["images"])

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


async def _closing(service: Service, order: Order, found: Asked, kind: str) -> AsyncIterator[bytes]:
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


def read_asked(service: Service, limits: Limits, body: Body) -> Asked:
    """What a body asks for; it may take its time.

    Raises:
        ApiError, RequestError: it cannot be done.
    """
    wish = read_wish(body.fields)
    if wish.model not in (None, "", service.name, *service.aliases):
        raise ApiError(
            404, f"the model {wish.model!r} is not here; this server has {service.name}.", param="model",
            code="model_not_found",
        )  # fmt: skip
    usual = service.model.card.defaults.num_inference_steps
    names = Names(adapter=service.adapter, control=service.control)
    wishes = as_wishes(wish, body.files, names, usual_steps=usual)
    plans = service.plan(wishes.requests)
    for plan in plans:
        request = plan.request
        pixels = (request.height or 0) * (request.width or 0) * request.upscale**2
        if pixels > limits.pixels:
            raise ApiError(
                400, f"{request.width}x{request.height} px are more than this server makes; {limits.pixels} are the "
                "most of a picture.", param="size", code="invalid_value",
            )  # fmt: skip
    call = Call(
        form=wishes.form,
        num_previews=wish.partial_images or 0,
        preview_every=wish.preview_every,
        priority=wish.priority,
        seconds=service.patience if wish.deadline is None else wish.deadline,
    )
    return Asked(wish, plans, call)
