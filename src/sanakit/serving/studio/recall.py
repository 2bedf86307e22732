"""From the record of a picture back to what a client would write, and to the picture once more."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from sanakit.common.errors import PictureError
from sanakit.pipelines.record import PictureRecord
from sanakit.pipelines.replay import circumstances, compare, compare_frames, read_made, request_again, size_of
from sanakit.pipelines.request import GenerationRequest, VideoRequest
from sanakit.pipelines.sources.picture import SourceFacts
from sanakit.serving.errors import of_failure
from sanakit.serving.messages import Done, Failed, FileForm
from sanakit.serving.service import Call, Order, Service
from sanakit.serving.studio.given import Given

_ALWAYS = ("prompt", "seed", "num_inference_steps", "guidance_scale")
_ELSE = (
    "negative_prompt", "guidance_interval", "pag_scale", "solver", "flow_shift", "angles", "reuse", "upscale",
    "seamless", "use_instruction",
)  # fmt: skip


_OF_CLIPS = ("negative_prompt", "flow_shift", "num_frames", "fps", "motion_score")


def settings_in(record: str, service: Service, given: Given | None = None) -> dict[str, Any]:
    """`settings_of` the text of a record, and what it is ``of``; None and a sentence where there is none, or it is of
    what the model does not make. ``first`` says that the picture which a clip begins with is among what was ``given``.
    """
    if not record:
        return {"settings": None, "lacks": ["it holds no record of sanakit"], "of": None, "first": False}
    read = PictureRecord.from_json(record)
    of = "clip" if isinstance(read.request, VideoRequest) else "picture"
    first = of == "clip" and given is not None and given.find(read.request.image) is not None
    try:
        return {**settings_of(read, service, first=first), "of": of, "first": first}
    except PictureError as error:
        return {"settings": None, "lacks": [str(error)], "of": of, "first": False}


def settings_of(record: PictureRecord, service: Service, *, first: bool = False) -> dict[str, Any]:
    """``settings`` in the names of the images or the videos API, without what the model does anyway; ``lacks`` in a
    sentence each, but for a ``first`` picture that is here."""
    request = _of_kind(record, service)
    names = _OF_CLIPS if service.makes_clips else _ELSE
    always = (*_ALWAYS, "num_frames", "fps") if service.makes_clips else _ALWAYS
    values = request.model_dump(mode="json", include={*always, *names})
    (plan,) = service.plan([type(request)(prompt="", seed=0)])
    usual = plan.request.model_dump(mode="json")
    given = {name: value for name, value in values.items() if name in always or value not in (None, usual.get(name))}
    given["size"] = f"{request.width}x{request.height}"
    if service.makes_clips:
        return {"settings": given, "lacks": _lacks(record, service, (), first=first)}
    here = service.adapter_files()
    named = {Path(use.name).stem: use.weight for use in request.adapters}
    given["adapters"] = [{"name": name, "weight": weight} for name, weight in named.items() if name in here]
    return {"settings": given, "lacks": _lacks(record, service, [name for name in named if name not in here])}


def _of_kind(record: PictureRecord, service: Service) -> GenerationRequest:
    """Its request; raises PictureError for a clip where pictures are made, and the other way round."""
    of_clip = isinstance(record.request, VideoRequest)
    if of_clip != service.makes_clips:
        what, makes = ("clip", "pictures") if of_clip else ("picture", "clips")
        raise PictureError(f"this is a {what}, and {service.name} makes {makes}; open it with a model of {what}s")
    return record.request


def _lacks(record: PictureRecord, service: Service, adapters: Sequence[str], *, first: bool = False) -> list[str]:
    lacks = [f"the adapter {name} is not here" for name in adapters]
    if record.model.name != service.name:
        lacks.append(f"it was made with {record.model.name}, and this is {service.name}")
    if (source := _source(record)) is not None and not first:
        lacks.append(f"it was made from {source}, which a file does not hold")
    if record.request.controls:
        lacks.append("pictures controlled it, which a file does not hold")
    return lacks


def _source(record: PictureRecord) -> SourceFacts | None:
    """The picture or clip that one was made from."""
    return record.request.image or getattr(record.request, "clip", None)


async def replayed(service: Service, path: Path, given: Given, gone: Callable[[], Awaitable[bool]]) -> dict[str, Any]:
    """The picture or clip in ``path`` made again in a lane: ``outcome``, and ``differences`` in a sentence each.

    Args:
        given: what pictures and clips were made from.
        gone: says whether the client went away.

    Raises:
        PictureError: it has no record, or what it was made from is not here, such as latents that were given.
        ApiError: it could not be made.
    """
    record, picture = read_made(path)
    _of_kind(record, service)
    record.check_work(path, size_of(path, picture))
    files = service.adapter_files()
    adapters = [file for use in record.request.adapters if (file := files.get(Path(use.name).stem)) is not None]
    try:
        request = request_again(record, path, **given.sources(record), adapters=adapters)
    except PictureError as error:
        if (source := _source(record)) is None:
            raise
        what = "clip" if record.request.image is None else "picture"
        told = f"it was made from {source}, which is not in the gallery; use its settings and give that {what} again"
        raise PictureError(told) from error
    call = Call(form=FileForm(format="webp" if picture is None else "png"), seconds=service.patience)
    with Order(service, service.plan([request]), call, gone) as order:
        async for _, message in order.told():
            match message:
                case Failed():
                    raise of_failure(message, begun=order.begun)
                case Done(content=content, record=text):
                    again = PictureRecord.from_json(text)
                    if picture is None:
                        outcome, pixels = compare_frames(record, again, path)
                    else:
                        outcome, pixels = compare(record, picture, Image.open(io.BytesIO(content)))
                    differences = [*pixels, *circumstances(record, again)]
    return {"outcome": outcome, "differences": differences}
