"""From the body of a request to plans: of pictures, or of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sanakit.checkpoints.identity.card import VideoDefaults
from sanakit.pipelines.plan import PicturePlan
from sanakit.serving.errors import ApiError
from sanakit.serving.http.access import Limits
from sanakit.serving.http.body import Body
from sanakit.serving.service import Call, Service
from sanakit.serving.video_wishes import VideoWish, as_clip_wishes, read_video_wish
from sanakit.serving.wishes import ImageWish, Names, Wishes, as_wishes, read_wish

WishT = TypeVar("WishT")


@dataclass(frozen=True, slots=True)
class Asked(Generic[WishT]):
    """A request that was read and can be done."""

    wish: WishT
    plans: Sequence[PicturePlan]
    call: Call


def read_any(service: Service, limits: Limits, body: Body) -> Asked[ImageWish] | Asked[VideoWish]:
    """What a body asks for, by what the model makes."""
    if service.makes_clips:
        return read_clip(service, limits, body)
    return read_asked(service, limits, body)


def read_asked(service: Service, limits: Limits, body: Body) -> Asked[ImageWish]:
    """What a body of the images API asks for; it may take its time.

    Raises:
        ApiError, RequestError: it cannot be done.
    """
    wish = read_wish(body.fields)
    _check_model(service, wish.model)
    usual = service.model.card.defaults.num_inference_steps
    names = Names(adapter=service.adapter, control=service.control)
    wishes = as_wishes(wish, body.files, names, usual_steps=usual)
    plans = _plans(service, limits, wishes)
    call = Call(
        form=wishes.form,
        num_previews=wish.partial_images or 0,
        preview_every=wish.preview_every,
        priority=wish.priority,
        seconds=service.patience if wish.deadline is None else wish.deadline,
    )
    return Asked(wish, plans, call)


def read_clip(service: Service, limits: Limits, body: Body) -> Asked[VideoWish]:
    """The same of the videos API."""
    wish, defaults = read_video_wish(body.fields), service.model.card.defaults
    _check_model(service, wish.model)
    assert isinstance(defaults, VideoDefaults)
    wishes = as_clip_wishes(wish, body.files, defaults, service.temporal)
    plans = _plans(service, limits, wishes)
    seconds = service.patience if wish.deadline is None else wish.deadline
    call = Call(form=wishes.form, preview_every=wish.preview_every, priority=wish.priority, seconds=seconds)
    return Asked(wish, plans, call)


def _check_model(service: Service, model: str | None) -> None:
    if model not in (None, "", service.name, *service.aliases):
        raise ApiError(
            404, f"the model {model!r} is not here; this server has {service.name}.", param="model",
            code="model_not_found",
        )  # fmt: skip


def _plans(service: Service, limits: Limits, wishes: Wishes) -> Sequence[PicturePlan]:
    plans = service.plan(wishes.requests)
    for plan in plans:
        request = plan.request
        pixels = (request.height or 0) * (request.width or 0) * request.upscale**2
        if pixels > limits.pixels:
            raise ApiError(
                400, f"{request.width}x{request.height} px are more than this server makes; {limits.pixels} are the "
                "most of a picture.", param="size", code="invalid_value",
            )  # fmt: skip
    return plans
