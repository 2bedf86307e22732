"""``/v1/jobs``: long work by number; and pictures that are asked for with an ``Idempotency-Key``."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from sanakit.common.seeds import MAX_SEED
from sanakit.pipelines.plan import PicturePlan
from sanakit.pipelines.request import VideoRequest
from sanakit.serving.errors import ApiError
from sanakit.serving.http.access import Limits
from sanakit.serving.http.answers import event, picture_facts, response_of
from sanakit.serving.http.asked import read_any
from sanakit.serving.http.body import Body, read_body
from sanakit.serving.http.images import ERRORS, JSON_BODY
from sanakit.serving.jobs.desk import Desk
from sanakit.serving.jobs.shelf import sha256_of
from sanakit.serving.jobs.store import COMPLETED, FAILED, RUNNING, STATUSES, Job, ReusedKeyError, StoredPicture
from sanakit.serving.wishes import MAX_PRIORITY, read_wish

MAX_LISTED = 100
_HEARTBEAT = 15.0  # seconds after which an idle stream says that it is there
_LOOK_EVERY = 1.0  # seconds between two looks at a job that another server works on
_KEPT = (
    "size", "fps", "negative_prompt", "num_inference_steps", "guidance_scale", "flow_shift", "motion_score",
    "output_format",
)  # fmt: skip
"""Of a clip where another one is made from it."""
_LENGTHS = ("seconds", "extend")  # that make the length of the first clip none of the second


class Counter:
    """Where work is handed in and fetched: a desk, and how its bodies are read."""

    def __init__(self, desk: Desk, limits: Limits) -> None:
        self.desk, self._limits = desk, limits

    async def accept(self, request: Request, body: Body, idempotency: str | None = None) -> Job:
        """Raises ApiError and kin for what cannot be done, now and not later."""
        return await run_in_threadpool(self._accept, client_of(request), body, idempotency)

    def _accept(self, client: str, body: Body, idempotency: str | None) -> Job:
        body = self._with_source(client, body)
        desk, fields = self.desk, dict(body.fields)
        if idempotency is not None and (len(idempotency) > 255 or not idempotency.isprintable()):
            raise ApiError(400, "an Idempotency-Key has up to 255 printable characters.", code="invalid_value")
        files = body.files
        clip = () if files.clip is None else (files.clip,)
        contents = (*files.pictures, files.mask or b"", *files.controls, *clip)
        hashes = [hashlib.sha256(each).hexdigest() for each in contents]
        fingerprint = hashlib.sha256(json.dumps([fields, hashes], sort_keys=True).encode()).hexdigest()
        if fields.get("seed") in (None, "random", ""):
            fields["seed"] = secrets.randbelow(min(2**32, MAX_SEED))
        asked = read_any(desk.service, self._limits, Body(fields, files))
        steps = sum(plan.solver.num_steps - plan.start for plan in asked.plans)
        kind = "video" if desk.service.makes_clips else "edit" if files.pictures else "image"
        fields |= clip_facts(asked.plans[0]) if kind == "video" else {}
        job = Job(
            id="", client=client, model=desk.service.name, kind=kind, fields=fields, fingerprint=fingerprint,
            priority=asked.wish.priority, steps=steps,
        )  # fmt: skip
        try:
            return desk.accept(job, files, idempotency)
        except ReusedKeyError as error:
            raise ApiError(409, str(error), code="idempotency_key_reused") from None

    def _with_source(self, client: str, body: Body) -> Body:
        """Of a clip that is made from one of this server: with that, and with its settings where nothing is said."""
        if (name := body.fields.get("remixed_from_video_id")) is None:
            return body
        if body.files.clip is not None:
            raise ApiError(
                400, "a clip is made from one other: a file, or a video of this server; give one of both.",
                param="video", code="invalid_value",
            )  # fmt: skip
        source = self._of(client, str(name))
        if source.kind != "video":
            raise ApiError(400, f"the job {source.id} is of pictures, and no clip is made from these.", param="video",
                           code="invalid_value")  # fmt: skip
        if source.status != COMPLETED:
            raise error_of(source)
        (clip,) = self.desk.store.pictures(source.id)
        usual = {each: source.fields[each] for each in _KEPT if source.fields.get(each) is not None}
        exact = source.fields.get("output_format") in (None, "mp4", "webm")  # others round the time of a frame
        if exact and not source.fields.get("extend") and all(body.fields.get(each) is None for each in _LENGTHS):
            usual["num_frames"] = source.fields["num_frames"]
        return Body({**usual, **body.fields}, replace(body.files, clip=self.desk.shelf.get(clip.sha256)))

    def owned(self, request: Request, job: str) -> Job:
        """A job of who asks; raises ApiError where there is none."""
        return self._of(client_of(request), job)

    def _of(self, client: str, job: str) -> Job:
        found = self.desk.store.get(job) if job.isascii() and job.isprintable() else None
        if found is None or found.client != client:
            raise ApiError(404, f"there is no job {job[:60]!r}.", param="job", code="job_not_found")
        return found

    def listed(
        self,
        request: Request,
        after: str | None,
        limit: int,
        status: str | None = None,
        told: Callable[[Job, dict[str, Any]], dict[str, Any]] = lambda job, facts: facts,
        oldest_first: bool = False,
    ) -> dict[str, Any]:
        """Jobs of who asks, newest first or oldest, of those that come behind ``after``; raises ApiError for more than
        are listed at once."""
        if not 1 <= limit <= MAX_LISTED:
            raise ApiError(400, f"limit is from 1 to {MAX_LISTED}.", param="limit")
        behind = None if after is None else self.owned(request, after).number
        found = self.desk.store.listed(
            client_of(request), after=behind, limit=limit + 1, status=status, oldest_first=oldest_first
        )
        data = [told(*each) for each in zip(found, self.facts_of(found[:limit]), strict=False)]
        last = data[-1]["id"] if data else None
        return {"object": "list", "data": data, "has_more": len(found) > limit, "last_id": last}

    async def finished(self, job: Job) -> Job:
        """The same when it has ended; raises ApiError where it has failed."""
        async for _ in self.news(job):
            pass
        ended = await run_in_threadpool(self.desk.store.get, job.id)
        if ended is None or ended.status != COMPLETED:
            raise error_of(ended)
        return ended

    async def news(self, job: Job) -> AsyncIterator[tuple[Mapping[str, Any], bytes | None] | None]:
        """What happens until it ends; None where nothing did for a while."""
        told: asyncio.Queue[tuple[Mapping[str, Any], bytes | None]] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def tell(fact: Mapping[str, Any], preview: bytes | None) -> None:
            loop.call_soon_threadsafe(told.put_nowait, (fact, preview))

        end = self.desk.listen(job.id, tell)
        try:
            seen: Mapping[str, Any] = {}
            while (now := await run_in_threadpool(self.desk.store.get, job.id)) is not None and not now.has_ended:
                written = {"status": now.status, "progress": round(100 * now.progress, 1)}
                if written != seen and not self.desk.holds(job):
                    yield written, None
                seen = written
                patience = _HEARTBEAT if self.desk.holds(job) else _LOOK_EVERY
                try:
                    running = True
                    while running or not told.empty():  # the store is asked only when there is something else to know
                        news = await asyncio.wait_for(told.get(), patience)
                        yield news
                        running = news[0]["status"] == RUNNING
                except TimeoutError:
                    yield None
        finally:
            end()

    def answer(self, job: Job) -> dict[str, Any]:
        """A finished job as the images endpoints answer."""
        desk = self.desk
        data = [
            picture_facts(desk.shelf.get(picture.sha256), picture.seed, (picture.width, picture.height))
            for picture in desk.store.pictures(job.id)
        ]
        return response_of(data, read_wish(job.fields))

    def file(self, job: Job, picture: StoredPicture) -> Response:
        """One of its files as it was written."""
        kind = job.fields.get("output_format") or ("mp4" if job.kind == "video" else "png")
        headers = {"etag": f'"{sha256_of(picture.sha256)}"', "cache-control": "private, immutable, max-age=604800"}
        family = "video" if kind in ("mp4", "webm") else "image"
        return Response(self.desk.shelf.get(picture.sha256), media_type=f"{family}/{kind}", headers=headers)

    def facts(self, job: Job) -> dict[str, Any]:
        """What a client sees of a job."""
        return self.facts_of([job])[0]

    def facts_of(self, jobs: Sequence[Job]) -> list[dict[str, Any]]:
        """The same of several."""
        ahead = self.desk.store.ahead(jobs)
        return [self._facts(job, *ahead.get(job.id, (None, 0))) for job in jobs]

    def _facts(self, job: Job, ahead: int | None, steps: int) -> dict[str, Any]:
        desk = self.desk
        pictures = desk.store.pictures(job.id) if job.progress or job.status != "queued" else []
        return {
            "id": job.id,
            "object": "job",
            "kind": job.kind,
            "model": job.model,
            "status": job.status,
            "progress": round(100 * desk.progress(job), 1),
            "queue_position": ahead,
            "estimated_seconds": desk.estimate(job, steps),
            "priority": job.priority,
            "created_at": int(job.created),
            "started_at": None if job.started is None else int(job.started),
            "completed_at": None if job.ended is None else int(job.ended),
            "expires_at": None if job.ended is None else int(job.ended + desk.keep),
            "request": dict(job.fields),
            "data": [
                {
                    "url": f"/v1/jobs/{job.id}/pictures/{picture.number}",
                    "sha256": sha256_of(picture.sha256),
                    "seed": picture.seed,
                    "size": f"{picture.width}x{picture.height}",
                }
                for picture in pictures
            ],
            "error": job.error,
        }


def clip_facts(plan: PicturePlan) -> dict[str, Any]:
    """What a clip is made as, whatever was said."""
    request = plan.request
    assert isinstance(request, VideoRequest)
    told = {"size": f"{request.width}x{request.height}", "seed": request.seed}  # a form has it as a text
    changed = {} if request.strength is None else {"strength": request.strength}
    assert request.fps is not None
    seconds = request.frames_in_all / request.fps if request.extend else None  # the rest follows from frames
    return {**told, **changed, "num_frames": request.num_frames, "fps": request.fps, "seconds": seconds}


def client_of(request: Request) -> str:
    """Whose jobs these are: of a key, or of everybody where there are no keys."""
    return str(request.scope.get("state", {}).get("owner", ""))


def job_routes(counter: Counter) -> APIRouter:
    """All of ``/v1/jobs``."""
    router, desk, owned = APIRouter(responses=ERRORS, tags=["jobs"]), counter.desk, counter.owned

    @router.post("/v1/jobs", status_code=202, openapi_extra=JSON_BODY)
    async def accept(request: Request) -> dict[str, Any]:
        """Accept pictures or edits, whose body is that of their endpoints; it will be done."""
        body = await read_body(request)
        job = await counter.accept(request, body, request.headers.get("idempotency-key"))
        return await run_in_threadpool(counter.facts, job)

    @router.get("/v1/jobs")
    def listed(
        request: Request, after: str | None = None, limit: int = 20, status: str | None = None
    ) -> dict[str, Any]:
        """Newest first."""
        if status is not None and status not in STATUSES:
            raise ApiError(400, f"status is one of {', '.join(STATUSES)}.", param="status", code="invalid_value")
        return counter.listed(request, after, limit, status)

    @router.get("/v1/jobs/{job}")
    def shown(request: Request, job: str) -> dict[str, Any]:
        """How far it is, its place in the queue, and when it may be there."""
        return counter.facts(owned(request, job))

    @router.post("/v1/jobs/{job}/cancel")
    def cancelled(request: Request, job: str) -> dict[str, Any]:
        """End it between two steps."""
        desk.cancel(owned(request, job))
        return counter.facts(owned(request, job))

    @router.post("/v1/jobs/{job}/priority/{priority}")
    def prioritised(request: Request, job: str, priority: int) -> dict[str, Any]:
        """Sooner or later."""
        if abs(priority) > MAX_PRIORITY:
            told = f"priority is from -{MAX_PRIORITY} to {MAX_PRIORITY}."
            raise ApiError(400, told, param="priority", code="invalid_value")
        desk.prioritise(owned(request, job), priority)
        return counter.facts(owned(request, job))

    @router.delete("/v1/jobs/{job}")
    def deleted(request: Request, job: str) -> dict[str, Any]:
        """Forget one that has ended, with its pictures."""
        found = owned(request, job)
        if not desk.forget(found):
            raise ApiError(409, "the job has not ended; cancel it before.", code="job_not_ended")
        return {"id": found.id, "object": "job.deleted", "deleted": True}

    _result_routes(router, counter)
    return router


def _result_routes(router: APIRouter, counter: Counter) -> None:
    """What comes of a job."""
    desk, owned = counter.desk, counter.owned

    @router.get("/v1/jobs/{job}/result")
    def result(request: Request, job: str) -> dict[str, Any]:
        """All pictures, as the images endpoints answer."""
        found = owned(request, job)
        if found.status != COMPLETED:
            raise error_of(found)
        if found.kind == "video":
            raise ApiError(400, f"a clip is a file of its own, at /v1/videos/{job}/content.", code="wrong_endpoint")
        return counter.answer(found)

    @router.get("/v1/jobs/{job}/pictures/{number}")
    def picture(request: Request, job: str, number: int) -> Response:
        """One picture's file as it was written."""
        found = owned(request, job)
        picture = next((each for each in desk.store.pictures(found.id) if each.number == number), None)
        if picture is None:
            raise ApiError(404, f"the job has no finished picture {number}.", param="number", code="picture_not_found")
        return counter.file(found, picture)

    @router.get("/v1/jobs/{job}/events")
    async def events(request: Request, job: str) -> Response:
        """Server-sent events until it ends: ``job.progress``, with previews where ``preview_every`` asked for them, and
        at the end ``job.completed``, ``job.failed`` or ``job.cancelled`` with all that there is to say."""
        found = await run_in_threadpool(owned, request, job)
        return StreamingResponse(_events(counter, found), media_type="text/event-stream")


async def _events(counter: Counter, job: Job) -> AsyncIterator[bytes]:
    async for news in counter.news(job):
        if news is None:
            yield b": still there\n\n"
            continue
        facts, preview = news
        picture = {} if preview is None else {"b64_json": base64.b64encode(preview).decode()}
        yield event("job.progress", {"id": job.id, **facts, **picture})
    ended = await run_in_threadpool(counter.desk.store.get, job.id)
    if ended is not None:
        yield event(f"job.{ended.status}", {"job": await run_in_threadpool(counter.facts, ended)})


async def in_full(request: Request, counter: Counter, job: Job) -> Response:
    """Pictures of a job that has ended."""
    return JSONResponse(await run_in_threadpool(counter.answer, job))


async def by_address(request: Request, counter: Counter, job: Job) -> Response:
    """The same for ``response_format`` "url": addresses of this server, which need the client's key as all others."""
    told = await run_in_threadpool(counter.facts, job)
    base = str(request.base_url).rstrip("/")
    data = [{"url": base + each["url"], "seed": each["seed"], "size": each["size"]} for each in told["data"]]
    return JSONResponse({"created": told["completed_at"], "data": data, "size": data[0]["size"]})


def error_of(job: Job | None) -> ApiError:
    """Why there is no result."""
    if job is None:
        return ApiError(404, "the job was deleted.", code="job_not_found")
    if job.status == FAILED and job.error is not None:
        status = 500 if job.error.get("type") == "server_error" else 400
        return ApiError(status, str(job.error["message"]), code=job.error.get("code"), param=job.error.get("param"))
    if job.has_ended:
        return ApiError(409, f"the job was {job.status}.", code="cancelled")
    return ApiError(
        409, f"the job is {job.status}; its result is not there yet.", code="job_not_ended", retry=True, after=1.0
    )
