"""Bodies of requests: JSON and forms with files alike."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from sanakit.common.config import json_values
from sanakit.serving.errors import ApiError
from sanakit.serving.video_wishes import taken_reference, taken_video
from sanakit.serving.wishes import MAX_PICTURES, Files, taken_images


@dataclass(frozen=True, slots=True)
class Body:
    """Fields, and files as they came."""

    fields: dict[str, Any]
    files: Files = field(default_factory=Files)


async def read_body(request: Request) -> Body:
    """Raises ApiError for what is neither JSON nor a form, or holds what is no text."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_form = kind in ("multipart/form-data", "application/x-www-form-urlencoded")
    body = await _read_form(request) if is_form else await _read_json(request)
    try:
        json.dumps(body.fields, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # no answer could tell of it, nor any list of jobs
        raise ApiError(400, "the body holds half of a surrogate pair, which is no text.", code="invalid_json") from None
    return body


async def _read_json(request: Request) -> Body:
    try:
        fields = json_values((await request.body()).decode())
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"the body is no JSON ({str(error)[:120]}).", code="invalid_json") from None
    if not isinstance(fields, dict):
        raise ApiError(400, 'the body must be a JSON object, such as {"prompt": "a red apple"}.', code="invalid_json")
    fields, controls = taken_images(fields)
    fields, reference = taken_reference(fields)
    fields, clip = taken_video(fields)
    return Body(fields, Files(() if reference is None else (reference,), controls=controls, clip=clip))


async def _read_form(request: Request) -> Body:
    has_ended = _watched(request)
    try:
        form = await request.form(max_files=2 * MAX_PICTURES, max_fields=100)
    except HTTPException as error:
        raise ApiError(400, f"the form cannot be read ({error.detail}).", code="invalid_form") from None
    if request.headers["content-type"].lower().startswith("multipart") and not has_ended():
        raise ApiError(400, "the form has no end, so a file of it may be cut off; send it whole.", code="invalid_form")
    fields: dict[str, Any] = {}
    files: dict[str, list[bytes]] = {"image": [], "mask": [], "control": [], "video": []}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            kind = "image" if name == "input_reference" else name.removesuffix("[]")
            if kind not in files:
                raise ApiError(400, f"there is no file {name[:40]!r}; give {', '.join(files)}.", param=name[:40])
            files[kind].append(await value.read())
        else:
            fields[name] = value
    for kind in ("mask", "video"):
        if len(files[kind]) > 1:
            raise ApiError(400, f"several {kind}s came; give one.", param=kind)
    taken_reference(fields)  # which is a file here
    fields, _ = taken_video(fields)
    mask, clip = (next(iter(files[kind]), None) for kind in ("mask", "video"))
    return Body(fields, Files(files["image"], mask, files["control"], clip))


def _watched(request: Request) -> Callable[[], bool]:
    """Whether the end of a form has come by then, without which its parser is content."""
    stream, last = request.stream, bytearray()

    async def watched() -> AsyncGenerator[bytes, None]:
        async for chunk in stream():
            last[:] = (last + chunk[-80:])[-80:]
            yield chunk

    request.stream = watched  # type: ignore[method-assign]
    return lambda: last.rstrip().endswith(b"--")
