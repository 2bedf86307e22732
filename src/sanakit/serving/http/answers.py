"""Finished pictures as OpenAI's clients read them: a response, or events of a stream."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from sanakit.pipelines.plan import PicturePlan
from sanakit.serving.errors import of_failure
from sanakit.serving.messages import Done, Failed, Step
from sanakit.serving.service import Order
from sanakit.serving.wishes import ImageWish


def picture_facts(content: bytes, seed: object, size: tuple[int, int]) -> dict[str, Any]:
    """One entry of ``data``; seed and size are ours."""
    return {"b64_json": base64.b64encode(content).decode(), "seed": seed, "size": f"{size[0]}x{size[1]}"}


def common_facts(wish: ImageWish, size: str) -> dict[str, Any]:
    """What a response and every event of a stream say alike."""
    return {
        "size": size,
        "quality": wish.quality or "auto",
        "background": "opaque",
        "output_format": wish.output_format or "png",
    }


def response_of(data: Sequence[Mapping[str, Any]], wish: ImageWish, notices: Sequence[str] = ()) -> dict[str, Any]:
    """The whole answer; ``size`` is the one that was used for the first picture, ``notices`` what we have to say."""
    told = {"created": int(time.time()), "data": list(data), **common_facts(wish, str(data[0]["size"]))}
    told |= {"safety_identifier": wish.safety_identifier} if wish.safety_identifier else {}
    return told | ({"notices": list(dict.fromkeys(notices))} if notices else {})


async def pictures_of(order: Order, plans: Sequence[PicturePlan]) -> list[dict[str, Any]]:
    """All pictures of an order, in their order; raises ApiError for the first that fails."""
    data: dict[int, dict[str, Any]] = {}
    async for index, message in order.told():
        match message:
            case Done():
                data[index] = picture_facts(message.content, plans[index].request.seed, message.size)
            case Failed():
                raise of_failure(message, begun=order.begun)
    return [data[index] for index in range(len(plans))]


async def stream_of(order: Order, plans: Sequence[PicturePlan], wish: ImageWish, kind: str) -> AsyncIterator[bytes]:
    """Events ``KIND.partial_image`` and one ``KIND.completed`` for every picture; raises ApiError for the first that
    fails."""
    shown = [0] * len(plans)
    async for index, message in order.told():
        request = plans[index].request
        facts = {"created_at": int(time.time()), **common_facts(wish, f"{request.width}x{request.height}")}
        facts |= {"image_index": index} if len(plans) > 1 else {}
        match message:
            case Step(preview=bytes() as preview):
                own = {"b64_json": base64.b64encode(preview).decode(), "partial_image_index": shown[index]}
                shown[index] += 1
                yield event(f"{kind}.partial_image", {**facts, **own})
            case Done():
                yield event(
                    f"{kind}.completed", {**facts, **picture_facts(message.content, request.seed, message.size)}
                )
            case Failed():
                raise of_failure(message, begun=True)


def event(kind: str, facts: Mapping[str, Any]) -> bytes:
    """One server-sent event; clients choose by its line or by ``type``."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **facts})}\n\n".encode()
