"""``/v1/videos``: the community's contract of clips, over the same jobs."""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from PIL import Image
from starlette.concurrency import run_in_threadpool

from sanakit.pipelines.clips.files import read_frames
from sanakit.serving.errors import ApiError
from sanakit.serving.heads import film_strip, first_frame
from sanakit.serving.http.body import Body, read_body
from sanakit.serving.http.images import ERRORS, body_of
from sanakit.serving.http.jobs import Counter, error_of
from sanakit.serving.jobs.store import COMPLETED, FAILED, QUEUED, RUNNING, Job
from sanakit.serving.service import Service
from sanakit.serving.video_wishes import VideoWish

_STATUS = {QUEUED: "queued", RUNNING: "in_progress", COMPLETED: "completed"}
_ENDING = 10.0  # seconds for one that is deleted while it is made
_SHEET, _SHEET_HEIGHT = 9, 180  # frames of a sheet, and their pixels
_WISH = body_of(VideoWish, "input_reference", required=False)
_EDIT = body_of(VideoWish, "video", required=False)


def video_routes(service: Service, counter: Counter | None) -> APIRouter:
    """All of it, or 501 where the model makes pictures, or no jobs are kept."""
    if counter is None or not service.makes_clips:
        return _none()
    router, desk, owned = APIRouter(responses=ERRORS, tags=["videos"]), counter.desk, counter.owned
    _making_routes(router, counter)

    @router.get("/v1/videos")
    def listed(request: Request, after: str | None = None, limit: int = 20, order: str = "desc") -> dict[str, Any]:
        """Newest first, or oldest."""
        if order not in ("asc", "desc"):
            raise ApiError(400, "order is asc or desc.", param="order", code="invalid_value")
        return counter.listed(request, after, limit, told=video_facts, oldest_first=order == "asc")

    @router.get("/v1/videos/{video}")
    def shown(request: Request, video: str) -> dict[str, Any]:
        """How far it is."""
        job = owned(request, video)
        return video_facts(job, counter.facts(job))

    @router.get("/v1/videos/{video}/content")
    def content(request: Request, video: str, variant: str = "video") -> Response:
        """Its file as it was written; a thumbnail, which is its first frame; or a sheet of some frames in a row."""
        found = owned(request, video)
        if found.status != COMPLETED:
            raise error_of(found)
        (clip,) = desk.store.pictures(found.id)
        file = counter.file(found, clip)
        if variant == "video":
            return file
        if variant not in _VIEWS:
            raise ApiError(
                400, f"variant={variant[:40]!r} is not offered; there are video, {', '.join(_VIEWS)}.", param="variant"
            )
        view, kind = _VIEWS[variant]
        return Response(_seen(bytes(file.body), str(file.media_type), view, kind), media_type=f"image/{kind}")

    @router.delete("/v1/videos/{video}")
    async def deleted(request: Request, video: str) -> dict[str, Any]:
        """Forget it with its file; one that is being made is ended before."""
        found = await run_in_threadpool(owned, request, video)
        for _ in range(int(_ENDING / 0.1)):
            if await run_in_threadpool(desk.forget, found):
                return {"id": found.id, "object": "video.deleted", "deleted": True}
            desk.cancel(found)
            await asyncio.sleep(0.1)
        raise ApiError(409, "the clip is still being ended; delete it once more.", code="job_not_ended", retry=True)

    @router.post("/v1/videos/{rest:path}", include_in_schema=False)
    async def others(rest: str) -> None:
        """Answers 501: characters of the contract."""
        raise ApiError(501, "this server has no characters; there are remixes, edits and extensions of clips.",
                       code="not_implemented")  # fmt: skip

    return router


def _making_routes(router: APIRouter, counter: Counter) -> None:
    """Of a prompt, of a picture or of another clip."""

    async def accepted(request: Request, body: Body) -> dict[str, Any]:
        job = await counter.accept(request, body, request.headers.get("idempotency-key"))
        return video_facts(job, await run_in_threadpool(counter.facts, job))

    @router.post("/v1/videos", openapi_extra=_WISH)
    async def create(request: Request) -> dict[str, Any]:
        """A clip of a prompt, perhaps from its first picture on, or from another clip."""
        return await accepted(request, await read_body(request))

    @router.post("/v1/videos/edits", openapi_extra=_EDIT)
    async def edits(request: Request) -> dict[str, Any]:
        """A clip made from another one, ``video``: a file, or one of this server."""
        body = await read_body(request)
        _require_video(body)
        return await accepted(request, body)

    @router.post("/v1/videos/extensions", openapi_extra=_EDIT)
    async def extensions(request: Request) -> dict[str, Any]:
        """``video`` with more behind it: ``seconds`` or ``num_frames``, from its last frame on."""
        body = await read_body(request)
        _require_video(body)
        return await accepted(request, Body({**body.fields, "extend": True}, body.files))

    @router.post("/v1/videos/{video}/remix", openapi_extra=body_of(VideoWish))
    async def remix(request: Request, video: str) -> dict[str, Any]:
        """A clip made from one of this server, with another prompt; what is not said is as of that."""
        body = await read_body(request)
        return await accepted(request, Body({**body.fields, "remixed_from_video_id": video}, body.files))


def _require_video(body: Body) -> None:
    if body.files.clip is None and body.fields.get("remixed_from_video_id") is None:
        raise ApiError(400, "video is missing; send a clip as a file of a form, or the id of one of this server.",
                       param="video", code="missing_required_parameter")  # fmt: skip


def video_facts(job: Job, facts: Mapping[str, Any]) -> dict[str, Any]:
    """A job in the words of the contract, from ``facts`` of ours; what they have more is behind it."""
    asked = job.fields
    frames, fps = int(asked.get("num_frames") or 1), int(asked.get("fps") or 1)
    return {
        "id": job.id,
        "object": "video",
        "model": job.model,
        "status": _STATUS.get(job.status, "failed"),
        "progress": int(facts["progress"]),
        **{name: facts[name] for name in ("created_at", "completed_at", "expires_at")},
        "size": asked.get("size"),
        "seconds": f"{asked.get('seconds') or frames / fps:g}",
        "prompt": asked.get("prompt"),
        "remixed_from_video_id": asked.get("remixed_from_video_id"),
        "error": _error(job),
        **{name: asked.get(name) for name in ("seed", "num_frames", "fps", "strength")},
        **{name: facts[name] for name in ("queue_position", "estimated_seconds")},
    }


def _error(job: Job) -> Mapping[str, Any] | None:
    if job.status == FAILED and job.error is not None:
        return {name: job.error.get(name) for name in ("code", "message")}
    return None if job.status in _STATUS else {"code": "cancelled", "message": "the clip was cancelled"}


def _seen(content: bytes, media_type: str, view: Callable[[Path], Image.Image], kind: str) -> bytes:
    """A view of a clip as a picture of that kind."""
    written = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"clip.{media_type.partition('/')[2]}"
        path.write_bytes(content)
        view(path).save(written, kind, quality=85)
    return written.getvalue()


def _sheet(path: Path) -> Image.Image:
    return film_strip(path, sum(1 for _ in read_frames(path)), _SHEET, _SHEET_HEIGHT)


_VIEWS: dict[str, tuple[Callable[[Path], Image.Image], str]] = {
    "thumbnail": (first_frame, "webp"), "spritesheet": (_sheet, "jpeg"),
}  # fmt: skip


def _none() -> APIRouter:
    router = APIRouter(responses=ERRORS, include_in_schema=False)

    @router.api_route("/v1/videos", methods=["GET", "POST"])
    @router.api_route("/v1/videos/{rest:path}", methods=["GET", "POST", "DELETE"])
    async def videos(request: Request) -> None:
        """Answers 501."""
        raise ApiError(501, "this server makes no videos; its model makes pictures, at /v1/images/generations.",
                       code="not_implemented")  # fmt: skip

    return router
