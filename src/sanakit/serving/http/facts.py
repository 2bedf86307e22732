"""What a server tells of itself: its models, its health, its numbers."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from sanakit.checkpoints.identity.card import VideoDefaults
from sanakit.common.version import __version__
from sanakit.pipelines.clips.place import can_be_written
from sanakit.pipelines.reading.styles import load_styles
from sanakit.pipelines.reading.words import Words
from sanakit.sampling.solvers import SOLVERS
from sanakit.scoring.annotators.annotate import ANNOTATORS
from sanakit.serving.errors import ApiError
from sanakit.serving.http.answers import pictures_of
from sanakit.serving.http.images import ERRORS
from sanakit.serving.messages import FileForm
from sanakit.serving.service import Call, Order, Service

_PATIENCE = 60.0  # seconds for the picture of a health check


def fact_routes(service: Service) -> APIRouter:
    """Models, health and metrics."""
    router = APIRouter(responses=ERRORS, tags=["server"])

    @router.get("/v1/models")
    async def models() -> dict[str, Any]:
        """The model that is served."""
        return {"object": "list", "data": [_model(service)]}

    @router.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        """The same with what a page wants to know: its own settings, words, styles and adapters."""
        if name not in (service.name, *service.aliases):
            raise ApiError(404, f"the model {name[:80]!r} is not here.", param="model", code="model_not_found")
        return {**_model(service), "sanakit": await run_in_threadpool(model_facts, service)}

    @router.get("/health")
    async def health() -> dict[str, Any]:
        """The process answers, and tells how its lanes fare."""
        engine = service.engine
        told = {"lanes": len(service.lanes.alive()), "lanes_replaced": engine.replaced, "lanes_hung": engine.hung}
        notice = {"notice": engine.notice} if engine.notice else {}
        return {"status": "ok", "version": __version__, **told, **notice}

    @router.get("/ready")
    async def ready() -> Response:
        """The model is loaded and the queue is open."""
        if not service.ready:
            return ApiError(503, "the server takes no work now.", code="not_ready", retry=True, after=1.0).response
        return JSONResponse({"status": "ready"})

    @router.get("/health_generate")
    async def health_generate(request: Request) -> dict[str, Any]:
        """A picture of one step can be made, or a clip of one frame."""
        plans = await run_in_threadpool(service.plan, [service.check_request()])
        form = FileForm(format="webp") if service.makes_clips else FileForm()
        call = Call(form=form, priority=1, seconds=_PATIENCE)
        with Order(service, plans, call, request.is_disconnected) as order:
            (picture,) = await pictures_of(order, plans)
        return {"status": "ok", "size": picture["size"]}

    @router.get("/metrics")
    def metrics() -> Response:
        """For Prometheus."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")

    return router


def _model(service: Service) -> dict[str, Any]:
    return {"id": service.name, "object": "model", "created": service.created, "owned_by": "sanakit"}


def usual_size(service: Service) -> str:
    """Of what is made where no size is said."""
    request = service.plan([service.check_request()])[0].request
    return f"{request.width}x{request.height}"


def usual_clip(defaults: VideoDefaults, temporal: int) -> dict[str, Any]:
    """The same of a clip; ``format`` is one that can be written here."""
    told = {name: getattr(defaults, name) for name in ("num_frames", "fps", "motion_score")}
    return {**told, "temporal": temporal, "format": "mp4" if can_be_written("mp4") else "webp"}


def model_facts(service: Service) -> dict[str, Any]:
    """What a page wants to know of the model."""
    card = service.model.card
    defaults, clips = card.defaults, service.makes_clips
    return {
        "defaults": {
            "size": usual_size(service),
            "num_inference_steps": defaults.num_inference_steps,
            "guidance_scale": defaults.guidance_scale,
            "solver": defaults.solver,
            "flow_shift": defaults.flow_shift,
        },
        "granularity": service.granularity,
        "few_steps": card.distilled or defaults.num_inference_steps <= 4,
        "negative_prompt": not card.distilled,
        "pag": bool(defaults.pag_layers),
        "solvers": [card.defaults.solver] if card.distilled else list(SOLVERS),
        "words": sorted(Words(service.model.words).known) if service.model.words else [],
        "styles": [] if clips else list(load_styles()),
        "adapters": [] if clips else list(service.adapter_files()),
        "controls": [] if clips else list(service.control_files()),
        "clips": usual_clip(defaults, service.temporal) if isinstance(defaults, VideoDefaults) else None,
        "annotators": list(ANNOTATORS),
        "own_control": "controlnet" in service.model.parts.networks,
        "licence": card.licence,
    }
