"""The page, and what it asks beside the images API and jobs: facts for its form, the gallery, records of pictures."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import FileResponse
from starlette.concurrency import run_in_threadpool

from sanakit.common.aspect_ratio import CLIP_SIZES, nearest_clip_bin
from sanakit.common.errors import RequestError
from sanakit.pipelines.reading.words import FUNCTION_WORDS
from sanakit.pipelines.resolution import generated_size, size_like
from sanakit.serving.errors import ApiError
from sanakit.serving.heads import head_of
from sanakit.serving.http.access import PAGE, asked_host
from sanakit.serving.http.facts import model_facts
from sanakit.serving.http.images import ERRORS
from sanakit.serving.service import Service
from sanakit.serving.studio.gallery import Gallery
from sanakit.serving.studio.recall import replayed, settings_in

SHAPES = ("1:1", "4:3", "3:4", "3:2", "2:3", "16:9", "9:16")
_SCALES = (1.0, 1.5, 2.0)  # times the model's own side
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src blob:; "
    "connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}
_FOR_GOOD = {**_HEADERS, "cache-control": "private, immutable, max-age=604800"}  # a name has one content


@cache
def page_files() -> Mapping[str, bytes]:
    """All files of the page by name."""
    return {file.name: file.read_bytes() for file in (files("sanakit.serving.studio") / "page").iterdir()}


def studio_routes(service: Service, gallery: Gallery, *, hosts: Sequence[str] = ()) -> APIRouter:
    """Args:
    hosts: the names of one that is reached from this machine alone, so that any other is an attempt to get in from a
        page; empty allows all.
    """

    def own_page(request: Request) -> None:
        strange = hosts and asked_host(request.headers) not in hosts
        if strange or request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise ApiError(403, "the studio answers its own page only; open it by the address that it told.")

    router = APIRouter(responses=ERRORS, tags=["studio"], dependencies=[Depends(own_page)])

    @router.get("/", include_in_schema=False)
    def page(request: Request) -> Response:
        return _asset(request, "index.html")

    @router.get(PAGE + "{name}", include_in_schema=False)
    def asset(request: Request, name: str) -> Response:
        return _asset(request, name)

    @router.get("/studio/facts")
    def facts() -> dict[str, Any]:
        """What the form must know of the model."""
        told = model_facts(service)
        words = [word for word in told.pop("words") if word not in FUNCTION_WORDS and word.isascii()]
        return {"model": service.name, **told, "words": words, "shapes": shapes_of(service)}

    @router.get("/studio/pictures")
    def pictures(words: str = "", after: str = "", limit: int = 60) -> dict[str, Any]:
        """The gallery, newest first; ``after`` is the name of the last that is known."""
        if not 1 <= limit <= 500:
            raise ApiError(400, "limit is from 1 to 500.", param="limit", code="invalid_value")
        found, total = gallery.find(words, after, limit)
        return {"data": [kept.facts for kept in found], "total": total}

    @router.get("/studio/pictures/{name}")
    def picture(name: str) -> Response:
        """The file, untouched."""
        return FileResponse(gallery.get(name).path, headers=_FOR_GOOD, filename=name, content_disposition_type="inline")

    @router.get("/studio/pictures/{name}/thumbnail")
    def thumbnail(name: str) -> Response:
        """The same, small."""
        return Response(gallery.thumbnail(name), media_type="image/webp", headers=_FOR_GOOD)

    @router.get("/studio/pictures/{name}/strip")
    def strip(name: str) -> Response:
        """Frames of a clip beside each other, the first and the last among them."""
        return Response(gallery.strip(name), media_type="image/webp", headers=_FOR_GOOD)

    @router.get("/studio/pictures/{name}/settings")
    def settings(name: str) -> dict[str, Any]:
        """All that it was made with."""
        return settings_in(gallery.get(name).record, service, gallery.given)

    @router.get("/studio/pictures/{name}/first")
    def first(name: str) -> Response:
        """The picture that a clip begins with."""
        return Response(gallery.first_picture(name), media_type="image/png", headers=_HEADERS)

    @router.delete("/studio/pictures/{name}")
    def delete(name: str) -> dict[str, Any]:
        """Its file is removed."""
        gallery.delete(name)
        return {"name": name, "deleted": True}

    @router.post("/studio/pictures/{name}/replay")
    async def replay(request: Request, name: str) -> dict[str, Any]:
        """Make it again, and say whether it is identical."""
        kept = await run_in_threadpool(gallery.get, name)
        return await replayed(service, kept.path, gallery.given, request.is_disconnected)

    @router.post("/studio/recall")
    async def recall(request: Request) -> dict[str, Any]:
        """All that a picture or a clip was made with, which is the body."""
        head = await run_in_threadpool(head_of, await request.body())
        return settings_in(head.record, service)

    return router


def shapes_of(service: Service) -> list[dict[str, Any]]:
    """Every shape with the sizes that the model makes in it, smallest first."""
    base, granularity = service.model.card.defaults.base_size, service.granularity
    if service.makes_clips:
        return [{"shape": shape, "sizes": [_clip_size(shape, base, granularity)]} for shape in SHAPES]
    found: dict[str, list[str]] = {}
    for shape in SHAPES:
        width, height = map(int, shape.split(":"))
        for scale in _SCALES:
            made = size_like(height, width, round(base * scale / granularity) * granularity, granularity)
            try:
                generated = generated_size(*made, base, granularity)
            except RequestError:
                continue
            size = f"{generated[1]}x{generated[0]}"
            if size not in found.setdefault(shape, []):
                found[shape].append(size)
    return [{"shape": shape, "sizes": sizes} for shape, sizes in found.items()]


def _clip_size(shape: str, base: int, granularity: int) -> str:
    """In a shape; those of 480p and 720p are of a table."""
    width, height = map(int, shape.split(":"))
    of_table = base in CLIP_SIZES
    made = nearest_clip_bin(height, width, base) if of_table else size_like(height, width, base, granularity)
    return f"{made[1]}x{made[0]}"


def _asset(request: Request, name: str) -> Response:
    content = page_files().get(name)
    if content is None:
        raise ApiError(404, f"the page has no file {name[:80]!r}.")
    etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    headers = {**_HEADERS, "etag": etag}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    kind = "text/javascript" if name.endswith(".js") else mimetypes.guess_type(name)[0]
    return Response(content, media_type=kind, headers=headers)
