"""The record of a picture: everything needed to make it again, as text that travels inside the file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sanakit.checkpoints.files.hub import HubOptions
from sanakit.common.errors import PictureError
from sanakit.common.version import __version__
from sanakit.pipelines.request import GenerationRequest
from sanakit.sampling.solvers import solver_kind

READING, UPSCALING = "words of other languages and emoji", "upscaling"
KNOWN_NEEDS = frozenset({READING, UPSCALING})  # features without which a picture would come out otherwise


class _Plain(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")  # a later version may add fields


class ModelReference(_Plain):
    """The model that made a picture: where it came from, its SHA-256, and the dtype of each component.

    ``variant`` and ``revision`` are those that were asked for; records of early versions have none.
    """

    name: str
    source: str
    hash: str
    dtypes: Mapping[str, str]
    variant: str | None = None
    revision: str | None = None

    def load_options(self) -> dict[str, Any]:
        """What ``load_bundle`` takes beside the source to give the same files in the same dtypes."""
        return {"dtype": dict(self.dtypes), "hub": HubOptions(variant=self.variant, revision=self.revision)}


class ImageReference(_Plain):
    """The finished picture: size, and SHA-256 of its RGB bytes row by row, before any compression."""

    width: int
    height: int
    sha256: str


class UpscalerReference(_Plain):
    """The network that enlarged a picture; ``hash`` is the SHA-256 of its tensors."""

    name: str
    hash: str


class PictureRecord(_Plain):
    """How one picture was made.

    ``request`` is complete (no ``None``), for this one picture; ``read_as`` is its prompt as the model was told it,
    None where that is the prompt as it was written. ``image`` is None until it was decoded; where ``request.upscale``
    is above 1 it is that much larger than the request says, and ``upscaler`` made it so. ``threads`` are those of the
    CPU, and ``arithmetic`` says by name what else the last bits depend on, such as the processor's instruction set.
    ``rows_per_call`` is None where a call had as many rows as there were. ``needs`` names what a reader must know to
    make the picture again, so that an older sanakit refuses it and does not leave that out.
    """

    request: GenerationRequest
    model: ModelReference
    device: str
    versions: Mapping[str, str]
    image: ImageReference | None = None
    threads: int | None = None
    rows_per_call: int | None = None
    arithmetic: Mapping[str, str] = Field(default_factory=dict)
    upscaler: UpscalerReference | None = None
    needs: tuple[str, ...] = ()
    read_as: str | None = None

    def to_json(self) -> str:
        """One line of ASCII, which every place that holds metadata takes."""
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=True)

    @classmethod
    def from_json(cls, text: str) -> PictureRecord:
        """Raises:
        PictureError: the text is not a record of ours, or one that needs more than this version knows.
        """
        try:
            record = cls.model_validate_json(text)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            place = ".".join(map(str, problem["loc"])) or "its text"
            raise PictureError(f"the record is damaged: {place}: {problem['msg']}.") from None
        if unknown := sorted(set(record.needs) - KNOWN_NEEDS):
            writer = record.versions.get("sanakit", "?")
            raise PictureError(
                f"the picture was made with {', '.join(unknown)}, which this sanakit does not know and would leave "
                f"out; read it with sanakit {writer} or later."
            )
        return record

    def to_a1111(self) -> str:
        """The ``parameters`` text that galleries and other tools read."""
        request = self.request
        facts: dict[str, Any] = {
            "Steps": request.num_inference_steps,
            "Sampler": solver_kind(request.solver).a1111_name if request.solver else None,
            "CFG scale": request.guidance_scale,
            "Seed": request.seed,
            "Size": f"{request.width}x{request.height}",
            "Model hash": self.model.hash[:10],
            "Model": self.model.name,
            "Version": f"sanakit {self.versions.get('sanakit', '')}",
        }
        if request.pag_scale > 0:
            facts["PAG scale"] = request.pag_scale
        if self.upscaler is not None:
            facts |= {"Postprocess upscale by": request.upscale, "Postprocess upscaler": self.upscaler.name}
        lines = [request.prompt]
        if request.negative_prompt:
            lines.append(f"Negative prompt: {request.negative_prompt}")
        return "\n".join([*lines, ", ".join(f"{name}: {_quoted(str(value))}" for name, value in facts.items())])


def software_versions() -> dict[str, str]:
    """Of ourselves and of what computes the numbers."""
    return {"sanakit": __version__} | {name: version(name) for name in ("torch", "transformers", "pillow")}


def describe_image(image: Image.Image) -> ImageReference:
    """Size and hash of a picture."""
    rgb = image if image.mode == "RGB" else image.convert("RGB")  # which would copy it
    return ImageReference(width=rgb.width, height=rgb.height, sha256=hashlib.sha256(rgb.tobytes()).hexdigest())


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if any(mark in value for mark in ",:\n") else value
