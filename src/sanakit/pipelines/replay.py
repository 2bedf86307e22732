"""Make a picture again from the record inside it, and say whether it is the same to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from sanakit.checkpoints.bundle import load_bundle
from sanakit.common.errors import PictureError
from sanakit.pipelines.events import OnEvent
from sanakit.pipelines.picture_file import open_picture, read_record
from sanakit.pipelines.record import PictureRecord, describe_image
from sanakit.pipelines.result import GeneratedImage
from sanakit.pipelines.text_to_image import TextToImagePipeline


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ReplayResult:
    """``identical``: every pixel of ``image`` equals the picture as it was made, and as the file (if PNG) holds it.

    ``differences`` are sentences: what differs in the pixels, and what is not as it was then and may be the reason.
    """

    identical: bool
    image: GeneratedImage
    differences: tuple[str, ...]


def replay(
    path: str | Path, pipeline: TextToImagePipeline | None = None, *, on_event: OnEvent | None = None
) -> ReplayResult:
    """Make the picture in ``path`` again.

    Args:
        path: a picture that sanakit wrote, with its metadata.
        pipeline: the model to use; None loads the one that the record names, from the same files in the same dtypes.
        on_event: as in the pipeline.

    Raises:
        PictureError: the file cannot be read or holds no record.
    """
    record = read_record(path)
    if record.image is None:
        raise PictureError(f"the record in {path} does not say what the picture looked like; it cannot be compared")
    again = copy(pipeline or TextToImagePipeline(load_bundle(record.model.source, **record.model.load_options())))
    again.fixed_rows = record.rows_per_call
    made = again(record.request, on_event=on_event).images[0]
    assert made.image is not None
    picture = open_picture(path)
    # only of a PNG can this be told: the other formats change pixels as they are written
    was_edited = picture.format == "PNG" and describe_image(picture) != record.image
    edited = ["the pixels in the file are no longer those that the record describes"] if was_edited else []
    identical = describe_image(made.image) == record.image and not was_edited
    pixels = [] if identical else [_pixel_difference(picture, made.image)]
    differences = (*pixels, *_circumstances(record, made.record), *edited)
    return ReplayResult(identical=identical, image=made, differences=differences)


def _pixel_difference(before: Image.Image, after: Image.Image) -> str:
    if before.size != after.size:
        return f"the file holds {before.width}x{before.height} pixels and the replay {after.width}x{after.height}"
    old, new = (np.asarray(image.convert("RGB"), dtype=np.int16) for image in (before, after))
    levels = np.abs(old - new)
    share = 100.0 * float((levels.max(axis=2) > 0).mean())
    return f"{share:.2f}% of the pixels in the file differ from the replay, by at most {levels.max()} of 255 levels"


def _circumstances(then: PictureRecord, now: PictureRecord) -> Iterator[str]:
    """What is not as it was, whether or not the pixels show it."""
    if then.read_as != now.read_as:
        old, new = (record.read_as or record.request.prompt for record in (then, now))
        yield f'the prompt was read as "{old}" and is read as "{new}"'
    if then.model.hash != now.model.hash:
        old, new = (f"{model.name} ({model.hash[:10]})" for model in (then.model, now.model))
        yield f"the model was {old} and is {new}"
    if then.upscaler is not None and now.upscaler is not None and then.upscaler != now.upscaler:
        old_network, new_network = (f"{each.name} ({each.hash[:10]})" for each in (then.upscaler, now.upscaler))
        yield f"the upscaler was {old_network} and is {new_network}"
    if then.model.dtypes != now.model.dtypes:
        yield f"the dtypes were {dict(then.model.dtypes)} and are {dict(now.model.dtypes)}"
    if then.device != now.device:
        yield f"the device was {then.device} and is {now.device}"
    if then.device == "cpu" and then.threads not in (None, now.threads):
        yield f"the CPU computed in {then.threads} threads and does so in {now.threads}"
    for name, version in then.versions.items():
        if now.versions.get(name) != version:
            yield f"{name} was {version} and is {now.versions.get(name)}"
