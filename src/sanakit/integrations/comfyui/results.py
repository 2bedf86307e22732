"""Nodes at the end: pictures of latents, and files of pictures."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sanakit.integrations.comfyui import host
from sanakit.integrations.comfyui.nodes import LATENT, RECORDS, Inputs, Latents, Node, text, wire
from sanakit.integrations.comfyui.tensors import as_arrays, as_batch
from sanakit.pipelines.clips.clip import GeneratedClip
from sanakit.pipelines.picture_file import Carried, write_image
from sanakit.pipelines.record import PictureRecord, describe_image

logger = logging.getLogger(__name__)


class Decode(Node):
    """Make pictures of latents, with the model that made these; of a clip all its frames."""

    RETURN_TYPES = ("IMAGE", RECORDS)
    RETURN_NAMES = ("images", "records")

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802, as ComfyUI calls it
        return {"required": {"latent": wire(LATENT, "What was sampled.")}, "hidden": {"node": "UNIQUE_ID"}}

    def run(self, latent: Latents, node: str | None = None) -> tuple[Tensor, list[PictureRecord]]:
        """Raises what ``TextToImagePipeline.decode`` does; a latent that does not fit into memory is kept."""
        telling, records = host.Telling(node), []
        images: list[Image.Image | NDArray[np.uint8]] = []
        for saved in latent.latents:
            host.stop_if_asked()
            decoded = latent.pipeline.decode(saved)
            images += [*decoded.pictures] if isinstance(decoded, GeneratedClip) else [decoded.picture]
            records.append(decoded.record)
            telling.progress(len(records), len(latent.latents))
        return as_batch(images), records


class Save(Node):
    """Write pictures as PNG files with their record and the graph inside."""

    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802
        prefix = "Of the names, as in ComfyUI's Save Image; folder/name is below its output folder."
        records = (
            "How they were made, so that sanakit replay makes them again; a picture that was changed since has none."
        )
        return {
            "required": {"images": wire("IMAGE", "The pictures."), "filename_prefix": text(prefix, default="sanakit")},
            "optional": {"records": wire(RECORDS, records)},
            "hidden": {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"},
        }

    def run(
        self,
        images: Tensor,
        filename_prefix: str,
        records: list[PictureRecord] | None = None,
        prompt: object = None,
        extra_pnginfo: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Raises OutputError where they cannot be written."""
        pictures = [Image.fromarray(each) for each in as_arrays(images)]
        places, below = host.picture_places(filename_prefix, [each.size for each in pictures])
        texts = host.graph_texts(prompt, extra_pnginfo)
        by_hash = {each.image: each for each in records or ()}
        written = []
        for picture, place in zip(pictures, places, strict=True):
            record = by_hash.get(describe_image(picture))
            if records and record is None:
                logger.warning("sanakit: %s is no longer what was decoded, so it gets no record", place.name)
            written.append(write_image(place, picture, record, carried=Carried(texts=texts), new=True))
        return {"ui": {"images": [{"filename": file.name, "subfolder": below, "type": "output"} for file in written]}}
