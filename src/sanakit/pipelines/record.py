"""The recipe of a picture: everything needed to make it again, as text that travels inside the file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from PIL import Image
from pydantic import BaseModel, ConfigDict, ValidationError

import sanakit
from sanakit.common.errors import PictureError
from sanakit.pipelines.request import GenerationRequest

A1111_SAMPLERS = {"flow-dpm": "Flow DPM++ 2M", "flow-euler": "Flow Euler"}


class _Plain(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")  # a later version may add fields


class ModelReference(_Plain):
    """The model that made a picture: where it came from, its SHA-256, and the dtype of each component.

    ``variant`` and ``revision`` are those that were asked for; recipes of early versions have none.
    """

    name: str
    source: str
    hash: str
    dtypes: Mapping[str, str]
    variant: str | None = None
    revision: str | None = None

    def load_options(self) -> dict[str, Any]:
        """What ``load_bundle`` takes beside the source to give the same files in the same dtypes."""
        return {"dtype": dict(self.dtypes), "variant": self.variant, "revision": self.revision}


class ImageReference(_Plain):
    """The finished picture: size, and SHA-256 of its RGB bytes row by row, before any compression."""

    width: int
    height: int
    sha256: str


class Recipe(_Plain):
    """How one picture was made.

    ``request`` is complete (no ``None``), for this one picture. ``image`` is None until it was decoded.
    """

    request: GenerationRequest
    model: ModelReference
    device: str
    versions: Mapping[str, str]
    image: ImageReference | None = None

    def to_json(self) -> str:
        """One line of ASCII, which every place that holds metadata takes."""
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=True)

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Raises:
        PictureError: the text is not a recipe of ours.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            place = ".".join(map(str, problem["loc"])) or "its text"
            raise PictureError(f"the recipe is damaged: {place}: {problem['msg']}.") from None

    def to_a1111(self) -> str:
        """The ``parameters`` text that galleries and other tools read."""
        request = self.request
        facts: dict[str, Any] = {
            "Steps": request.num_inference_steps,
            "Sampler": A1111_SAMPLERS.get(str(request.solver), request.solver),
            "CFG scale": request.guidance_scale,
            "Seed": request.seed,
            "Size": f"{request.width}x{request.height}",
            "Model hash": self.model.hash[:10],
            "Model": self.model.name,
            "Version": f"sanakit {self.versions.get('sanakit', '')}",
        }
        if request.pag_scale > 0:
            facts["PAG scale"] = request.pag_scale
        lines = [request.prompt]
        if request.negative_prompt:
            lines.append(f"Negative prompt: {request.negative_prompt}")
        return "\n".join([*lines, ", ".join(f"{name}: {_quoted(str(value))}" for name, value in facts.items())])


def software_versions() -> dict[str, str]:
    """Of ourselves and of what computes the numbers."""
    return {"sanakit": sanakit.__version__} | {name: version(name) for name in ("torch", "transformers")}


def describe_image(image: Image.Image) -> ImageReference:
    """Size and hash of a picture."""
    rgb = image.convert("RGB")
    return ImageReference(width=rgb.width, height=rgb.height, sha256=hashlib.sha256(rgb.tobytes()).hexdigest())


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if any(mark in value for mark in ",:\n") else value
