"""What a record says of a picture that was enlarged."""

from __future__ import annotations

from sanakit.pipelines.record import UPSCALING, PictureRecord, UpscalerReference
from sanakit.pipelines.upscaling.upscaler import Upscaler


def upscaled_record(record: PictureRecord, upscaler: Upscaler) -> PictureRecord:
    """The record of a picture after ``upscaler``, with the larger ``image`` still to be described."""
    changes = {
        "request": record.request.model_copy(update={"upscale": upscaler.scale}),
        "upscaler": UpscalerReference(name=upscaler.name, hash=upscaler.hash),
        "needs": tuple(dict.fromkeys((*record.needs, UPSCALING))),
        "image": None,
    }
    return record.model_copy(update=changes)
