"""From the record of a picture back to what a client would write, and to the picture once more."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from sanakit.common.errors import PictureError
from sanakit.pipelines.picture_file import open_single_picture, read_record, record_text
from sanakit.pipelines.record import PictureRecord
from sanakit.pipelines.replay import circumstances, compare, request_again
from sanakit.pipelines.request import GenerationRequest, VideoRequest
from sanakit.serving.errors import of_failure
from sanakit.serving.messages import Done, Failed, FileForm
from sanakit.serving.service import Call, Order, Service

_ALWAYS = ("prompt", "seed", "num_inference_steps", "guidance_scale")
_ELSE = (
    "negative_prompt", "guidance_interval", "pag_scale", "solver", "flow_shift", "angles", "reuse", "upscale",
    "seamless", "use_instruction",
)  # fmt: skip


def settings_in(picture: Image.Image, service: Service) -> dict[str, Any]:
    """`settings_of` an open picture; None and a sentence where it holds no record."""
    text = record_text(picture)
    if text is None:
        return {"settings": None, "lacks": ["it holds no record of sanakit"]}
    return settings_of(PictureRecord.from_json(text), service)


def settings_of(record: PictureRecord, service: Service) -> dict[str, Any]:
    """``settings`` in the names of the images API, without what the model does anyway; ``lacks`` in a sentence each."""
    request = _of_picture(record)
    values = request.model_dump(mode="json", include={*_ALWAYS, *_ELSE})
    (plan,) = service.plan([GenerationRequest(prompt="", seed=0)])
    usual = plan.request.model_dump(mode="json")
    given = {name: value for name, value in values.items() if name in _ALWAYS or value not in (None, usual.get(name))}
    given["size"] = f"{request.width}x{request.height}"
    here = service.adapter_files()
    named = {Path(use.name).stem: use.weight for use in request.adapters}
    given["adapters"] = [{"name": name, "weight": weight} for name, weight in named.items() if name in here]
    return {"settings": given, "lacks": list(_lacks(record, service, [name for name in named if name not in here]))}


def _of_picture(record: PictureRecord) -> GenerationRequest:
    if isinstance(record.request, VideoRequest):
        raise PictureError("this is a clip, and the studio makes pictures; use sanakit replay")
    return record.request


def _lacks(record: PictureRecord, service: Service, adapters: Sequence[str]) -> list[str]:
    lacks = [f"the adapter {name} is not here" for name in adapters]
    if record.model.name != service.name:
        lacks.append(f"it was made with {record.model.name}, and this is {service.name}")
    if record.request.image is not None:
        lacks.append(f"it was made from {record.request.image}, which a file does not hold")
    if record.request.controls:
        lacks.append("pictures controlled it, which a file does not hold")
    return lacks


async def replayed(service: Service, path: Path, gone: Callable[[], Awaitable[bool]]) -> dict[str, Any]:
    """The picture in ``path`` made again in a lane: ``outcome``, and ``differences`` in a sentence each.

    Args:
        gone: says whether the client went away.

    Raises:
        PictureError: it has no record, or what it was made from is not here, such as latents that were given.
        ApiError: it could not be made.
    """
    record, picture = read_record(path), open_single_picture(path)
    _of_picture(record)
    record.check_work(path, picture.size)
    files = service.adapter_files()
    given = [file for use in record.request.adapters if (file := files.get(Path(use.name).stem)) is not None]
    request = request_again(record, path, adapters=given)
    call = Call(form=FileForm(), seconds=service.patience)
    with Order(service, service.plan([request]), call, gone) as order:
        async for _, message in order.told():
            match message:
                case Failed():
                    raise of_failure(message, begun=order.begun)
                case Done(content=content, record=again):
                    made = Image.open(io.BytesIO(content))
                    outcome, pixels = compare(record, picture, made)
                    differences = [*pixels, *circumstances(record, PictureRecord.from_json(again))]
    return {"outcome": outcome, "differences": differences}
