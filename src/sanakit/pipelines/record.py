"""The record of a picture: everything needed to make it again, as text that travels inside the file."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sanakit.checkpoints.sources.origin import SHIPPED, STARTER, Origin, OriginKind
from sanakit.common.config import check_format, json_values
from sanakit.common.errors import PictureError
from sanakit.common.version import __version__
from sanakit.pipelines.editing.edit import RESAMPLED
from sanakit.pipelines.request import GenerationRequest, VideoRequest
from sanakit.sampling.solvers import solver_kind

FORMAT = 1
"""Of records, the newest that is read."""

READING, UPSCALING, LATENTS = "words of other languages and emoji", "upscaling", "latents that were given"
REUSE = "velocities that were reused"
QUANTIZED, EDIT = "quantized weights", "an edit of a picture"
SEAMLESS, ADAPTERS, CONTROLS = "edges that meet", "adapters", "pictures that control"
CLIP, REFINED = "frames of a clip", "a refiner of clips"
MAX_STEPS, MAX_PIXELS, MAX_ROWS, MAX_FRAMES = 100, 1024**2, 16, 161
"""What a record may ask for unasked; a picture as large as its file is never too large."""
KNOWN_NEEDS = frozenset({
    READING, UPSCALING, LATENTS, QUANTIZED, REUSE, EDIT, SEAMLESS, ADAPTERS, CONTROLS, CLIP, REFINED,
})  # fmt: skip
"""Features without which a picture would come out otherwise."""


class _Plain(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")  # a later version may add fields


class ModelReference(_Plain):
    """The model that made a picture: where it came from, its SHA-256, and the dtype of each component.

    ``kind`` says what ``source`` is: a hub id, or the last name of a place on the machine where the picture was made,
    which is nobody's to look up. Early records have whole paths and no kind. ``variant`` and ``revision`` are those
    that were asked for, ``commits`` those of the hub that came, by component; ``replaced`` are parts that were named
    instead of the model's own, ``quantized`` the schemes of components whose weights were quantized as they were
    loaded. ``settings`` is a hash of its configs, which the hash of its tensors does not show. A
    model that was changed in memory is of kind ``memory``.
    """

    name: str
    source: str
    hash: str
    dtypes: Mapping[str, str]
    kind: OriginKind | None = None
    variant: str | None = None
    revision: str | None = None
    commits: Mapping[str, str] = Field(default_factory=dict)
    settings: str | None = None
    replaced: Mapping[str, Origin] = Field(default_factory=dict)
    quantized: Mapping[str, str] = Field(default_factory=dict)

    @property
    def ships(self) -> bool:
        """It comes with sanakit, as the starter does, and is loaded because a file says so; no other model is."""
        return (self.kind or self.source) == STARTER and self.source in SHIPPED and not self.replaced

    def borrowed_commits(self, source: str | Path) -> dict[str, str]:
        """The hub's commits of parts that the model borrowed, by component, where ``source`` is that model again."""
        if Origin.of(source) != Origin(self.kind or "memory", self.source):
            return {}
        own = self.commits.get("transformer")
        return {name: sha for name, sha in self.commits.items() if sha != own and name not in self.replaced}

    def refuse_unnamed(self, path: str | Path) -> None:
        """Raises PictureError for a model that only the file ``path`` names, and no user."""
        made = f"{path} was made with {self.name} ({self.hash[:10]})"
        if self.kind == "memory":
            raise PictureError(
                f"{made}, which was changed or made in memory and which no source gives back: make it so again and "
                f"give it to sanakit.pipelines.replay.replay as pipeline="
            )
        if not self.ships:
            raise PictureError(
                f"{made}, and a file does not decide what is loaded: name the model with{self.options or ' --model'}"
            )

    @property
    def options(self) -> str:
        """What names the model again on the command line, with ``...`` for a path that is not known; "" for one that
        ships and for one that was never in files."""
        if self.ships or self.kind == "memory":
            return ""
        place = f".../{self.source}" if self.kind in ("folder", "file") else self.source
        revision = self.commits.get("transformer", self.revision) if self.kind == "hub" else self.revision
        given = {"model": place, "variant": self.variant, "revision": revision}
        given |= {name.replace("_", "-"): origin.name for name, origin in self.replaced.items()}
        return "".join(f" --{name} {shlex.quote(value)}" for name, value in given.items() if value is not None)


class ImageReference(_Plain):
    """The finished picture: size, and SHA-256 of its RGB bytes row by row, before any compression; of a clip that of
    its frames, one after the other."""

    width: int
    height: int
    sha256: str
    num_frames: int | None = Field(None, exclude_if=lambda frames: frames is None)


class UpscalerReference(_Plain):
    """The network that enlarged a picture; ``hash`` is the SHA-256 of its tensors."""

    name: str
    hash: str


class RefinerReference(_Plain):
    """The networks that went over a finished clip, which made it ``scale`` times as large a side; ``hash`` is the
    SHA-256 of their tensors."""

    name: str
    hash: str
    scale: int = Field(1, ge=1, le=2)


class JudgeReference(_Plain):
    """A judge of candidates, the SHA-256 of its weights ("" where it has none) and what its ranks count."""

    name: str
    hash: str = ""
    weight: float = 1.0


class Candidate(_Plain):
    """A picture that was looked at: its seed, what each judge said the last time, None for what is no number, and the
    step after which it was dropped, None if it was finished."""

    seed: int
    scores: tuple[tuple[float | None, ...], ...]
    dropped_after: int | None = None


class Choice(_Plain):
    """How a picture was chosen among candidates: it came out as number ``place``, from 0, of ``keep``."""

    place: int
    keep: int
    mode: str
    stages: tuple[int, ...] = ()
    judges: tuple[JudgeReference, ...]
    candidates: tuple[Candidate, ...]


class PictureRecord(_Plain):
    """How one picture was made.

    ``request`` is complete (no ``None``), for this one picture; ``read_as`` is its prompt as the model was told it,
    None where that is the prompt as it was written. ``image`` is None until it was decoded; where ``request.upscale``
    is above 1 it is that much larger than the request says, and ``upscaler`` made it so. ``threads`` are those of the
    CPU, and ``arithmetic`` says by name what else the last bits depend on, such as the processor's instruction set.
    ``latents`` is the SHA-256 of initial noise that was given and did not follow from the seed (`hash_latent`).
    ``rows_per_call`` is None where a call had as many rows as there were. ``needs`` names what a reader must know to
    make the picture again, so that an older sanakit refuses it and does not leave that out. ``choice`` is there where
    it is the best of many, and is nothing that it depends on. A clip that ``refiner`` went over is as many times larger
    than the request says as that makes it.
    """

    format: int = FORMAT
    request: GenerationRequest | VideoRequest
    model: ModelReference
    device: str
    versions: Mapping[str, str]
    image: ImageReference | None = None
    threads: int | None = Field(None, ge=1)
    rows_per_call: int | None = Field(None, ge=1)
    arithmetic: Mapping[str, str] = Field(default_factory=dict)
    upscaler: UpscalerReference | None = None
    latents: str | None = None
    needs: tuple[str, ...] = ()
    read_as: str | None = None
    choice: Choice | None = Field(None, exclude_if=lambda choice: choice is None)
    refiner: RefinerReference | None = Field(None, exclude_if=lambda refiner: refiner is None)

    @property
    def refined_scale(self) -> int:
        """By how much a refiner made it larger."""
        return 1 if self.refiner is None else self.refiner.scale

    def to_json(self) -> str:
        """One line of ASCII, which every place that holds metadata takes."""
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=True)

    @classmethod
    def from_json(cls, text: str) -> PictureRecord:
        """Raises:
        PictureError: the text is not a record of ours, or one that needs more than this version knows.
        """
        try:
            content = json_values(text)
            if isinstance(content, dict):
                _check_known(content)
            record = cls.model_validate_json(text)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            place = ".".join(map(str, problem["loc"])) or "its text"
            raise PictureError(f"the record is damaged: {place}: {problem['msg']}.") from None
        except ValueError as error:
            raise PictureError(f"the record is damaged: {error}.") from None
        if record.request.num_images != 1:
            raise PictureError(f"the record is damaged: it is of {record.request.num_images} pictures, not of one.")
        if unknown := sorted(set(record.needs) - KNOWN_NEEDS):
            writer = record.versions.get("sanakit", "?")
            raise PictureError(
                f"the picture was made with {', '.join(unknown)}, which this sanakit does not know and would leave "
                f"out; read it with sanakit {writer} or later."
            )
        return record

    def check_work(self, path: str | Path, size: tuple[int, int]) -> None:
        """Refuse what only a hostile record, or a most unusual picture, asks for.

        Args:
            path: the file that it is in.
            size: width and height of the picture there.

        Raises:
            PictureError: it does not say what to compare with, or asks for more than ``MAX_STEPS``, for calls of more
                than ``MAX_ROWS`` rows, or for more pixels than the file holds and than ``MAX_PIXELS``.
        """
        if self.image is None:
            raise PictureError(f"the record in {path} does not say what the picture looked like; it cannot be compared")
        steps = max(self.request.num_inference_steps or 0, len(self.request.angles or ()))
        if self.request.edit is not None and self.request.edit.resample > RESAMPLED:
            steps = steps * (1 + self.request.edit.resample) // (1 + RESAMPLED)
        rows, frames = self.rows_per_call or 0, getattr(self.request, "num_frames", None) or 0
        scale = self.request.upscale * self.refined_scale
        width, height = ((side or 0) * scale for side in (self.request.width, self.request.height))
        asked = [
            f"{steps} steps" if steps > MAX_STEPS else "",
            f"{width}x{height} pixels" if width * height > max(MAX_PIXELS, size[0] * size[1]) else "",
            f"calls of {rows} rows" if rows > MAX_ROWS else "",
            f"{frames} frames" if frames > MAX_FRAMES else "",
        ]
        if any(asked):
            raise PictureError(
                f"the record in {path} asks for {' and '.join(filter(None, asked))}, which is more work than a file "
                f"may cause by itself; replay it with --long (long=True) if you trust it"
            )

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
        if request.strength is not None:
            facts["Denoising strength"] = request.strength
        if request.pag_scale > 0:
            facts["PAG scale"] = request.pag_scale
        if request.reuse > 0:
            facts["Reuse threshold"] = request.reuse
        if request.adapters:
            facts["Lora hashes"] = ", ".join(f"{Path(use.name).stem}: {use.sha256[:12]}" for use in request.adapters)
        for number, use in enumerate(request.controls):
            name = use.model.name if use.model else ""
            facts[f"ControlNet {number}"] = (
                f"Module: {use.type}, Model: {name}, Weight: {use.scale:g}, Guidance Start: {use.start:g}, "
                f"Guidance End: {use.end:g}"
            )
        if self.upscaler is not None:
            facts |= {"Postprocess upscale by": request.upscale, "Postprocess upscaler": self.upscaler.name}
        lines = [request.prompt]
        if request.negative_prompt:
            lines.append(f"Negative prompt: {request.negative_prompt}")
        return "\n".join([*lines, ", ".join(f"{name}: {_quoted(str(value))}" for name, value in facts.items())])


def _check_known(content: Mapping[str, Any]) -> None:
    """Raises PictureError for a record of a later version: by its format, or by what this one does not know in it."""
    check_format(content, FORMAT, "the record", error=PictureError)
    request, model = ({} if not isinstance(part := content.get(name), dict) else part for name in ("request", "model"))
    strange = [f"request.{name}" for name in request if name not in VideoRequest.model_fields]
    if model.get("kind") not in (None, *get_args(OriginKind)):
        strange.append("model.kind")
    edit = edit if isinstance(edit := request.get("edit"), dict) else {"mask": edit}
    named = {"image": request.get("image"), "edit": edit.get("mask"), "clip": request.get("clip")}
    for name, given in named.items():
        if not isinstance(given, dict | None):  # a name of a file would be opened
            what = "clip" if name == "clip" else "picture"
            raise PictureError(f"the record is damaged: request.{name}: it holds no facts of a {what}.")
    if not isinstance(uses := request.get("adapters", []), list) or not all(isinstance(use, dict) for use in uses):
        raise PictureError("the record is damaged: request.adapters: it holds no facts of adapters.")
    if not isinstance(uses := request.get("controls", []), list) or not all(map(_is_control, uses)):
        raise PictureError("the record is damaged: request.controls: it holds no facts of pictures that control.")
    if request.get("seed") == "random":  # which a request would draw
        raise PictureError("the record is damaged: request.seed: random is no seed of a picture that is made.")
    if strange:
        raise PictureError(
            f"the record says {', '.join(strange)}, which this sanakit {__version__} does not know; a newer one wrote "
            f"it and reads it."
        )


def _is_control(use: object) -> bool:
    """Facts alone: a name in their place would be opened."""
    return isinstance(use, dict) and all(isinstance(use.get(part), dict) for part in ("image", "model"))


_version = cache(version)  # which reads a file


def software_versions(*others: str) -> dict[str, str]:
    """Of ourselves and of what computes the numbers, ``others`` among it."""
    return {"sanakit": __version__} | {name: _version(name) for name in ("torch", *others, "pillow")}


def describe_image(image: Image.Image) -> ImageReference:
    """Size and hash of a picture."""
    rgb = image if image.mode == "RGB" else image.convert("RGB")  # which would copy it
    return ImageReference(width=rgb.width, height=rgb.height, sha256=hashlib.sha256(rgb.tobytes()).hexdigest())


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if any(mark in value for mark in ",:\n") else value
