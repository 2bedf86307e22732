"""Nodes of clips: frames of a file, latents of a prompt, perhaps from a first picture on, and files of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, get_args

from torch import Tensor

from sanakit.common.errors import PictureError, RequestError
from sanakit.common.paths import as_path
from sanakit.common.seeds import MAX_SEED
from sanakit.data.clips import beginning
from sanakit.data.films.containers import Frame
from sanakit.integrations.comfyui import host
from sanakit.integrations.comfyui.nodes import (
    LATENT,
    MODEL,
    PROMPT,
    Inputs,
    Latents,
    Node,
    Prompt,
    choice,
    stamp,
    text,
    whole,
    wire,
)
from sanakit.integrations.comfyui.sampling import course_inputs, taken_course
from sanakit.integrations.comfyui.tensors import as_arrays, as_batch
from sanakit.pipelines.clips.clip import GeneratedClip
from sanakit.pipelines.clips.place import ClipFormat, choose_clip_place
from sanakit.pipelines.latent_file import SavedLatent
from sanakit.pipelines.request import MAX_FPS, MAX_FRAMES, MAX_MOTION, VideoRequest
from sanakit.pipelines.text_to_image import TextToImagePipeline

_BYTES_PER_PIXEL = 18  # of frames that are read, put side by side, and then floats


class LoadClip(Node):
    """Read a clip file, of sanakit or another program, as frames."""

    RETURN_TYPES = ("IMAGE", "IMAGE", "INT")
    RETURN_NAMES = ("images", "last", "fps")

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802, as ComfyUI calls it
        rate = "Frames a second that are taken, if the file has more; 0 is all."
        return {
            "required": {
                "file": choice("From ComfyUI's input folder.", [*host.clip_names(), ""], video_upload=True),
                "frames": whole("The first ones; 0 is all. 1 is what a clip begins with.", 0, MAX_FRAMES),
                "fps": whole(rate, 0, MAX_FPS),
            },
            "optional": {"source": text("A path, instead of the choice above.")},
        }

    @classmethod
    def IS_CHANGED(cls, file: str, source: str = "", **others: Any) -> str:  # noqa: N802
        return stamp(_clip_file(file, source))

    def run(self, file: str, frames: int, fps: int, source: str = "") -> tuple[Tensor, Tensor, int]:
        """Raises PictureError for what is no clip, or needs more memory than is free."""
        path = _clip_file(file, source)
        try:
            read, rate = _read(path, frames or MAX_FRAMES, fps or math.inf)
        except (PictureError, OSError, ValueError) as error:  # the last is of a path with a zero byte
            raise PictureError(f"{path.name}: {getattr(error, 'strerror', None) or error}") from error
        images = as_batch(read)
        return images, images[-1:], min(max(round(rate), 1), MAX_FPS)


def _read(path: Path, at_most: int, fps: float) -> tuple[list[Frame], float]:
    with path.open("rb") as file:
        frames, rate = beginning(file, fps=fps, at_most=at_most, bytes_per_pixel=_BYTES_PER_PIXEL)
    return [*frames], rate


def _clip_file(file: str, source: str) -> Path:
    if not (source.strip() or file):
        raise RequestError("no clip is chosen; put one into ComfyUI's input folder, or name a source.")
    return as_path(source.strip()) if source.strip() else host.input_path(file)


class SampleClip(Node):
    """Make a clip of a prompt, as a latent."""

    RETURN_TYPES = (LATENT,)
    RETURN_NAMES = ("latent",)

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802, as ComfyUI calls it
        side = "In pixels; 0 in both is the model's own, or the shape of the picture it begins with."
        return {
            "required": {
                "model": wire(MODEL, "One of clips."),
                "prompt": wire(PROMPT, "What happens."),
                "seed": whole("Of the noise.", 0, MAX_SEED, control_after_generate=True),
                "frames": whole("Length; 0 is the model's own.", 0, MAX_FRAMES),
                "fps": whole("Frames a second of the file; 0 is the model's own.", 0, MAX_FPS),
                "motion": whole(
                    "How much moves; 0 does not say it, -1 is the model's own.", -1, MAX_MOTION, default=-1
                ),
                **course_inputs(side),
            },
            "optional": {"image": wire("IMAGE", "The picture that it begins with.")},
            "hidden": {"node": "UNIQUE_ID"},
        }

    def run(
        self,
        model: TextToImagePipeline,
        prompt: Prompt,
        node: str | None = None,
        image: Tensor | None = None,
        **wishes: Any,
    ) -> tuple[Latents]:
        """Raises what a pipeline does, and ComfyUI's exception where its user wants no more of this."""
        if image is not None and len(image) != 1:
            raise RequestError(f"a clip begins with one picture, and {len(image)} came; choose one of them.")
        fields = {**prompt._asdict(), "seed": wishes.pop("seed"), **_fields(wishes)}
        request = VideoRequest(**fields, image=None if image is None else as_arrays(image)[0])
        result = model([request], on_event=host.Telling(node), output="latent")
        return (Latents(model, [SavedLatent(latent=each.latent, record=each.record) for each in result.images]),)


def _fields(wishes: dict[str, Any]) -> dict[str, Any]:
    """Of a request, without what is left to the model."""
    own = {"num_frames": wishes["frames"], "fps": wishes["fps"]}
    fields = taken_course(wishes) | {name: value for name, value in own.items() if value}
    return fields if wishes["motion"] < 0 else {**fields, "motion_score": wishes["motion"]}


class SaveClip(Node):
    """Write clips as files with their record, frame by frame as they are decoded."""

    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802
        prefix = "Of the names, as in ComfyUI's Save Image; folder/name is below its output folder."
        formats = [each for each in get_args(ClipFormat) if each != "png"]
        return {
            "required": {
                "latent": wire(LATENT, "What was sampled."),
                "filename_prefix": text(prefix, default="sanakit"),
                "format": choice("MP4 and WebM need PyAV.", formats),
            }
        }

    def run(self, latent: Latents, filename_prefix: str, format: str) -> dict[str, Any]:
        """Raises what ``TextToImagePipeline.decode`` does; a latent that does not fit into memory is kept."""
        requests = [saved.record.request for saved in latent.latents]
        sizes = [(request.width or 0, request.height or 0) for request in requests]
        places, below = host.picture_places(filename_prefix, sizes, suffix=f".{format}")
        for place, saved in zip(places, latent.latents, strict=True):
            host.stop_if_asked()
            clip = latent.pipeline.decode(saved, save_to=choose_clip_place(place))
            assert isinstance(clip, GeneratedClip)
        files = [{"filename": place.name, "subfolder": below, "type": "output"} for place in places]
        return {"ui": {"images": files, "animated": (True,)}}
