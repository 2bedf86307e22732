"""What a user may ask for, checked once for the command line, Python, the server and replays."""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from sanakit.common.errors import RequestError, SanakitError
from sanakit.common.seeds import MAX_SEED, generator_seed
from sanakit.pipelines.adapting.use import AdapterUse, as_adapters
from sanakit.pipelines.controlling.use import ControlUse, as_controls
from sanakit.pipelines.editing.edit import Edit, as_edit
from sanakit.pipelines.sources.clip import Excerpt, SourceClip, as_clip
from sanakit.pipelines.sources.picture import SourcePicture, as_source
from sanakit.sampling.reuse import MAX_THRESHOLD
from sanakit.sampling.scm import ROUNDED_MAX_ANGLE, SCM
from sanakit.sampling.solvers import solver_kind, solver_names

MIN_SIDE, MAX_SIDE = 32, 16384
_SIDES = f"a whole number of pixels from {MIN_SIDE} to {MAX_SIDE}"
MAX_STEPS = 1000
MAX_IMAGES = 1000
MAX_ADAPTERS = 16
MAX_CONTROLS = 4
MAX_PROMPT = 100_000  # characters; the largest models read some 1500 of them
MAX_FRAMES, MAX_FPS, MAX_MOTION = 4096, 240, 1000  # of clips
_OF_PICTURES = ("start_angle", "edit", "seamless", "upscale", "angles", "pag_scale", "adapters", "controls")
UPSCALES = (2, 4)  # times a side, by a small network after the model's own


def _rising(interval: tuple[float, float]) -> tuple[float, float]:
    if not 0.0 <= interval[0] <= interval[1] <= 1.0:
        raise ValueError("not two rising noise levels")
    return interval


def _usable_angles(angles: tuple[float, ...]) -> tuple[float, ...]:
    ends_at_zero = len(angles) > 1 and angles[-1] == 0  # as every schedule does
    return SCM(angles=angles[:-1] if ends_at_zero else angles).angles


def _offered_scale(scale: int) -> int:
    if scale not in (1, *UPSCALES):
        raise ValueError("not offered")
    return scale


def _encodable(text: str) -> str:
    text.encode()  # half of a surrogate pair, from bytes that were not UTF-8: no tokenizer can read it
    return text


def _none_is_empty(text: object) -> object:
    """None, which other libraries have for no negative prompt."""
    return "" if text is None else text


def _drawn(seed: object) -> object:
    """A seed for ``random``, which is in the record afterwards as any other; 32 bits are easy to write down."""
    return secrets.randbelow(2**32) if seed == "random" else seed


Text = Annotated[str, Field(max_length=MAX_PROMPT), AfterValidator(_encodable)]
Side = Annotated[int, Field(ge=MIN_SIDE, le=MAX_SIDE, description=_SIDES)]
Scale = Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False, description="a number from 0 to 1000")]


class GenerationRequest(BaseModel):
    """One prompt and everything that decides its pictures; ``None`` means the model's own value.

    Every field's description completes the sentence "NAME must be ...", which is what a bad value is answered with.
    An empty prompt is allowed: it asks for an unconditional picture.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    _changed: ClassVar[tuple[str, str]] = "image", "picture"  # what strength is about: a field, and what it holds

    prompt: Text = Field(description=f"text in valid Unicode, of any language, of at most {MAX_PROMPT} characters")
    negative_prompt: Annotated[Text, BeforeValidator(_none_is_empty)] = Field(
        "", description=f"text in valid Unicode, of at most {MAX_PROMPT} characters"
    )
    height: Side | None = Field(None, description=_SIDES)
    width: Side | None = Field(None, description=_SIDES)
    num_inference_steps: int | None = Field(
        None, ge=1, le=MAX_STEPS, description=f"a whole number of steps from 1 to {MAX_STEPS}"
    )
    guidance_scale: Scale | None = Field(None, description="a number from 0 to 1000 (up to 1 is off)")
    guidance_interval: Annotated[tuple[float, float], AfterValidator(_rising)] = Field(
        (0.0, 1.0), description="two rising noise levels between 0 and 1, outside of which guidance is off"
    )
    pag_scale: Scale = Field(0.0, description="a number from 0 (off) to 1000")
    reuse: float = Field(
        0.0,
        ge=0,
        le=MAX_THRESHOLD,
        allow_inf_nan=False,
        exclude_if=lambda threshold: threshold == 0,
        description="a number from 0 (off) to 1",
    )
    solver: Annotated[str, AfterValidator(lambda name: solver_kind(name).name)] | None = Field(
        None, description=solver_names()
    )
    flow_shift: float | None = Field(
        None,
        gt=0,
        le=1000,
        allow_inf_nan=False,
        exclude_if=lambda shift: shift is None,
        description="a number above 0, at most 1000",
    )
    angles: Annotated[tuple[float, ...], AfterValidator(_usable_angles)] | None = Field(
        None,
        max_length=MAX_STEPS,
        exclude_if=lambda angles: angles is None,
        description="angles that fall from at most 1.5708 (all noise) to above 0, one a step",
    )
    image: Annotated[SourcePicture | None, BeforeValidator(as_source)] = Field(
        None,
        exclude_if=lambda image: image is None,
        description="a picture to begin with: the name of a file, Pillow's picture or an array",
    )
    strength: float | None = Field(
        None,
        gt=0,
        le=1,
        allow_inf_nan=False,
        exclude_if=lambda strength: strength is None,
        description="the share of the steps that change the picture or clip, above 0 and at most 1 (all)",
    )
    start_angle: float | None = Field(
        None,
        gt=0,
        le=ROUNDED_MAX_ANGLE,
        allow_inf_nan=False,
        exclude_if=lambda angle: angle is None,
        description=f"an angle above 0, at most {ROUNDED_MAX_ANGLE} (all noise)",
    )
    edit: Annotated[Edit | None, BeforeValidator(as_edit)] = Field(
        None, exclude_if=lambda edit: edit is None, description="an edit of the picture, such as Edit(mask='mask.png')"
    )
    seamless: bool = Field(False, exclude_if=lambda seamless: not seamless, description="true or false")
    adapters: Annotated[tuple[AdapterUse, ...], BeforeValidator(as_adapters)] = Field(
        (),
        max_length=MAX_ADAPTERS,
        exclude_if=lambda adapters: not adapters,
        description=f"up to {MAX_ADAPTERS} names of .safetensors files, each alone or with a weight",
    )
    controls: Annotated[tuple[ControlUse, ...], BeforeValidator(as_controls)] = Field(
        (),
        max_length=MAX_CONTROLS,
        exclude_if=lambda controls: not controls,
        description=f"up to {MAX_CONTROLS} pictures that control, such as {{'image': 'drawing.png', 'scale': 0.8}}",
    )
    seed: Annotated[int, BeforeValidator(_drawn)] = Field(
        0, ge=0, le=MAX_SEED, description=f"a whole number from 0 to {MAX_SEED}, or random"
    )
    num_images: int = Field(1, ge=1, le=MAX_IMAGES, description=f"a whole number from 1 to {MAX_IMAGES}")
    upscale: Annotated[int, AfterValidator(_offered_scale)] = Field(
        1, exclude_if=lambda scale: scale == 1, description="1 (as the model makes it), 2 or 4"
    )
    use_resolution_binning: bool = Field(True, description="true or false")
    use_instruction: bool = Field(True, description="true or false")

    if not TYPE_CHECKING:  # type checkers and editors see the fields instead

        def __init__(self, **fields: Any) -> None:
            """Check every field.

            Raises:
                RequestError: a field is missing, unknown or out of range; the first such, in one sentence.
            """
            try:
                super().__init__(**fields)
            except ValidationError as error:
                raise RequestError(_sentence(error, type(self).model_fields)) from None
            self._check_together()

    def _check_together(self) -> None:
        """Refuse combinations that no field can see alone."""
        if self.pag_scale > 0 and self.guidance_interval != (0.0, 1.0):
            raise RequestError("guidance_interval and pag_scale cannot be combined; leave one of them out.")
        if self.angles is not None and self.num_inference_steps not in (None, len(self.angles)):
            raise RequestError(
                f"num_inference_steps={self.num_inference_steps} and {len(self.angles)} angles do not fit; every angle "
                f"is a step, so leave one of them out."
            )
        beginnings = [name for name in ("strength", "start_angle") if getattr(self, name) is not None]
        field, what = self._changed
        if beginnings and getattr(self, field) is None:
            raise RequestError(f"{beginnings[0]} says how a {what} is changed; give that as {field}, or leave it out.")
        if self.edit is not None and self.image is None:
            raise RequestError("edit says what is done to a picture; give that as image, or leave it out.")
        if self.seamless and self.upscale > 1:
            raise RequestError("seamless makes edges that meet, and upscale would part them; leave one out.")
        if self.seamless and self.edit is not None:
            raise RequestError(
                "seamless makes edges that meet, and an edit keeps those that a picture has; leave one out."
            )
        if len(beginnings) > 1:
            raise RequestError("strength and start_angle both say where to begin; give one of them.")
        if (self.height is None) != (self.width is None):
            raise RequestError(
                f"a size needs both sides, but height={self.height} and width={self.width}; give both or neither."
            )


class VideoRequest(GenerationRequest):
    """A request for clips; ``image`` is their first frame, which stays as it is, ``clip`` one that they are made from,
    as pictures from a picture, or with ``extend`` one that stands before them: its last frame is their first."""

    _changed: ClassVar[tuple[str, str]] = "clip", "clip"

    num_frames: int | None = Field(
        None, ge=1, le=MAX_FRAMES, description=f"a whole number of frames from 1 to {MAX_FRAMES}"
    )
    fps: int | None = Field(
        None, ge=1, le=MAX_FPS, description=f"a whole number of frames a second from 1 to {MAX_FPS}"
    )
    motion_score: int | None = Field(
        None, ge=0, le=MAX_MOTION, description=f"a whole number from 1 (hardly any) to {MAX_MOTION}, or 0 for not said"
    )
    clip: Annotated[SourceClip | None, BeforeValidator(as_clip)] = Field(
        None,
        exclude_if=lambda clip: clip is None,
        description="a clip to begin with: the name of a file, its bytes or frames (T, H, W, 3)",
    )
    extend: bool = Field(False, exclude_if=lambda extend: not extend, description="true or false")

    @property
    def excerpt(self) -> Excerpt | None:
        """Of a complete request for a clip that is made from another one, the frames of that."""
        if self.clip is None:
            return None
        assert self.num_frames is not None
        assert self.fps is not None
        num = self.clip.num_at(self.fps) if self.extend else self.num_frames
        return Excerpt(clip=self.clip, num_frames=num, fps=self.fps)

    @property
    def frames_in_all(self) -> int:
        """Of a complete request: with those that stand before the new ones where a clip is extended."""
        assert self.num_frames is not None
        before = self.excerpt.num_frames - 1 if self.extend and self.excerpt is not None else 0
        return before + self.num_frames

    def _check_together(self) -> None:
        fields = GenerationRequest.model_fields
        for name in _OF_PICTURES:
            if name in fields and getattr(self, name) != fields[name].get_default():
                raise RequestError(f"{name} is not offered for clips; leave it out.")
        if self.image is not None and self.clip is not None:
            raise RequestError("image is the first frame of a clip, and clip what all of it is made from; give one.")
        if self.extend and (self.clip is None or self.strength is not None):
            raise RequestError("extend goes on behind a clip that stays as it is; give that as clip, and no strength.")
        super()._check_together()


def as_requests(
    asked: Asked | Sequence[Asked] | None, fields: Mapping[str, Any], kind: type[GenerationRequest] | None = None
) -> list[GenerationRequest]:
    """Prompts with ``fields``, or finished requests, as a list; of one or of several.

    Args:
        asked: None where ``fields`` has the ``prompt``.
        fields: of ``GenerationRequest``, for every prompt; and ``generator``, of torch, in the place of ``seed``: one
            for all prompts, or a list with one for every picture.
        kind: what prompts become; None for ``GenerationRequest``.

    Raises:
        RequestError: ``fields`` came with a finished request, there is nothing to do, or it is something else.
    """
    fields, kind = dict(fields), kind or GenerationRequest
    if fields.get("image") is not None:  # read once, whatever the number of prompts
        fields["image"] = SourcePicture.of(fields["image"])
    if fields.get("clip") is not None:
        fields["clip"] = as_clip(fields["clip"])
    if fields.get("adapters"):
        fields["adapters"] = as_adapters(fields["adapters"])
    if fields.get("controls"):
        fields["controls"] = as_controls(fields["controls"])
    if asked is None:
        asked = fields.pop("prompt", ())
    elif "prompt" in fields:
        raise RequestError(f"prompt={_short(fields['prompt'])} comes beside {_short(asked)}; give one of them.")
    if not isinstance(asked, (GenerationRequest, Iterable)) or isinstance(asked, (bytes, bytearray, Mapping)):
        raise RequestError(f"{_short(asked)} is no request; give a prompt, a GenerationRequest or several of these.")
    items: list[Any] = [asked] if isinstance(asked, (str, GenerationRequest)) else list(asked)
    if not items:
        raise RequestError("there is no request; give at least one prompt.")
    if fields and any(isinstance(item, GenerationRequest) for item in items):
        raise RequestError(f"{', '.join(fields)} would be ignored beside a finished request; set them in the request.")
    generator = fields.pop("generator", None)
    requests = [_as_request(item, fields, kind) for item in items]
    if generator is None:
        return requests
    if "seed" in fields:
        raise RequestError("seed= and generator= both say which noise to begin with; give one of them.")
    return _seeded(requests, generator)


def _as_request(item: Any, fields: Mapping[str, Any], kind: type[GenerationRequest]) -> GenerationRequest:
    if isinstance(item, GenerationRequest):
        return item
    if not isinstance(item, str):
        raise RequestError(f"{_short(item)} in the list is neither a prompt nor a GenerationRequest.")
    return kind(prompt=item, **fields)


def _seeded(requests: list[GenerationRequest], generator: Any) -> list[GenerationRequest]:
    """With the seeds that generators stand for; of a list of them, every picture has its own."""
    import torch

    if isinstance(generator, Sequence):
        requests = [one for each in requests for one in [each.model_copy(update={"num_images": 1})] * each.num_images]
    generators = generator if isinstance(generator, Sequence) else [generator] * len(requests)
    if stranger := next((each for each in generators if not isinstance(each, torch.Generator)), None):
        raise RequestError(f"generator={_short(stranger)} is no torch.Generator; give one, or a whole number as seed=.")
    if len(generators) != len(requests):
        raise RequestError(
            f"generator= is a list of {len(generators)} for {len(requests)} pictures; give one for each."
        )
    pairs = zip(requests, generators, strict=True)
    return [request.model_copy(update={"seed": generator_seed(each)}) for request, each in pairs]


Asked = str | GenerationRequest
_CALLED_WITH = ("generator", "latents", "output", "on_event", "on_step")
_ELSEWHERE = {  # what other libraries call these
    "output_type": "output", "num_images_per_prompt": "num_images", "callback": "on_step",
    "callback_on_step_end": "on_step", "steps": "num_inference_steps", "cfg_scale": "guidance_scale",
    "complex_human_instruction": "use_instruction", "timesteps": "angles", "init_image": "image", "video": "clip",
    "denoising_strength": "strength", "mask": "edit", "mask_image": "edit", "expand": "edit", "factor": "edit",
    "loras": "adapters", "lora": "adapters", "adapter": "adapters",
    "control": "controls", "control_image": "controls", "controlnet_conditioning_scale": "controls",
}  # fmt: skip


def _sentence(error: ValidationError, fields: Mapping[str, Any]) -> str:
    """The first problem that pydantic found, in our words."""
    problem = error.errors(include_url=False)[0]
    if isinstance(own := problem.get("ctx", {}).get("error"), SanakitError):
        return str(own)
    name = str(problem["loc"][0]) if problem["loc"] else "request"
    field = fields.get(name)
    if field is None and name in VideoRequest.model_fields:
        return f"{name} is a setting of clips, and pictures are asked for; give a model of clips, or leave it out."
    if field is None:
        names = (*fields, *_CALLED_WITH)
        meant = _ELSEWHERE.get(name) or next(iter(get_close_matches(name, names, n=1)), None)
        hint = f"did you mean {meant}" if meant else f"the settings are {', '.join(names)}"
        return f"there is no setting named {name!r}; {hint}{'?' if meant else '.'}"
    if problem["type"] == "missing":
        return f"{name} is missing; it must be {field.description}."
    return f"{name}={_short(problem['input'])} is not usable; it must be {field.description}."


def _short(value: object) -> str:
    text = str(value) if isinstance(value, float) and not math.isfinite(value) else ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."
