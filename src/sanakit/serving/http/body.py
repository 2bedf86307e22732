"""Bodies of requests: JSON and forms with files alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from sanakit.common.config import json_values
from sanakit.serving.errors import ApiError
from sanakit.serving.wishes import MAX_PICTURES

_IMAGE = ("image", "image[]")
_FILES = (*_IMAGE, "mask")


@dataclass(frozen=True, slots=True)
class Body:
    """Fields, and files as they came."""

    fields: dict[str, Any]
    pictures: Sequence[bytes] = field(default=(), repr=False)
    mask: bytes | None = field(default=None, repr=False)


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
    return Body(fields)


async def _read_form(request: Request) -> Body:
    try:
        form = await request.form(max_files=MAX_PICTURES + 2, max_fields=100)
    except HTTPException as error:
        raise ApiError(400, f"the form cannot be read ({error.detail}).", code="invalid_form") from None
    fields: dict[str, Any] = {}
    files: dict[str, list[bytes]] = {"image": [], "mask": []}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name not in _FILES:
                raise ApiError(400, f"there is no file {name[:40]!r}; give image and mask.", param=name[:40])
            files["image" if name in _IMAGE else name].append(await value.read())
        else:
            fields[name] = value
    if len(files["mask"]) > 1:
        raise ApiError(400, "several masks came; give one.", param="mask")
    return Body(fields, files["image"], next(iter(files["mask"]), None))
