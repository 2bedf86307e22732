"""Bodies of requests: JSON and forms with files alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from sanakit.common.config import json_values
from sanakit.serving.errors import ApiError
from sanakit.serving.video_wishes import taken_reference
from sanakit.serving.wishes import MAX_PICTURES, Files, taken_images


@dataclass(frozen=True, slots=True)
class Body:
    """Fields, and files as they came."""

    fields: dict[str, Any]
    files: Files = field(default_factory=Files)


async def read_body(request: Request) -> Body:
    """Raises ApiError for what is neither JSON nor a form."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        return await _read_form(request)
    try:
        fields = json_values((await request.body()).decode())
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"the body is no JSON ({str(error)[:120]}).", code="invalid_json") from None
    if not isinstance(fields, dict):
        raise ApiError(400, 'the body must be a JSON object, such as {"prompt": "a red apple"}.', code="invalid_json")
    fields, controls = taken_images(fields)
    fields, reference = taken_reference(fields)
    return Body(fields, Files(() if reference is None else (reference,), controls=controls))


async def _read_form(request: Request) -> Body:
    try:
        form = await request.form(max_files=2 * MAX_PICTURES, max_fields=100)
    except HTTPException as error:
        raise ApiError(400, f"the form cannot be read ({error.detail}).", code="invalid_form") from None
    fields: dict[str, Any] = {}
    files: dict[str, list[bytes]] = {"image": [], "mask": [], "control": []}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            kind = "image" if name == "input_reference" else name.removesuffix("[]")
            if kind not in files:
                raise ApiError(400, f"there is no file {name[:40]!r}; give image, mask and control.", param=name[:40])
            files[kind].append(await value.read())
        else:
            fields[name] = value
    if len(files["mask"]) > 1:
        raise ApiError(400, "several masks came; give one.", param="mask")
    taken_reference(fields)  # which is a file here
    return Body(fields, Files(files["image"], next(iter(files["mask"]), None), files["control"]))
