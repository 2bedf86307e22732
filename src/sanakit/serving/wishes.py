"""What a client writes, in the names of OpenAI's images API and of SGLang, as requests of ours."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from sanakit.common.config import json_values
from sanakit.common.errors import PictureError, RequestError, SanakitError
from sanakit.data.pictures import open_picture
from sanakit.pipelines.adapting.use import AdapterUse
from sanakit.pipelines.controlling.use import ControlModel, ControlUse
from sanakit.pipelines.editing.edit import Edit, Mask
from sanakit.pipelines.reading.styles import style_named
from sanakit.pipelines.request import MAX_ADAPTERS, MAX_CONTROLS, MAX_STEPS, GenerationRequest
from sanakit.pipelines.sources.picture import SourcePicture
from sanakit.serving.messages import FileForm

WishT = TypeVar("WishT", bound=BaseModel)
MAX_PICTURES = 16  # that a request of edits may bring
MAX_PRIORITY = 100
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")


class WishError(RequestError):
    """A parameter that cannot be used; ``param`` is its name as the client wrote it, None for the whole request."""

    def __init__(self, message: str, param: str | None = None, code: str = "invalid_value") -> None:
        super().__init__(message)
        self.param, self.code = param, code


def _parsed(value: object) -> object:
    """Forms have texts only; lists in them are JSON, or parted by commas."""
    if not isinstance(value, str):
        return value
    try:
        return json_values(value)
    except ValueError:
        return [part.strip() for part in value.split(",")]


Listed = BeforeValidator(_parsed)


class AdapterWish(BaseModel):
    """An adapter of the server, by name."""

    model_config = ConfigDict(extra="forbid")
    name: str
    weight: float = 1.0


class ControlWish(BaseModel):
    """A picture that controls, through a ControlNet of the server by name, or through the model's own."""

    model_config = ConfigDict(extra="forbid")
    name: str | None = None
    image: str | None = Field(None, description="base64, also as a data URL; in a form a file called control")
    type: str | None = Field(None, description="what of it: edges, scribble, drawing, ...; as it is if not given")
    scale: float = 1.0
    start: float = 0.0
    end: float = 1.0


@dataclass(frozen=True, slots=True)
class Files:
    """What comes with a wish, as it came: pictures to be edited, what of them changes, what controls; a clip."""

    pictures: Sequence[bytes] = field(default=(), repr=False)
    mask: bytes | None = field(default=None, repr=False)
    controls: Sequence[bytes] = field(default=(), repr=False)
    clip: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Names:
    """How a server finds what a wish names: the file of an adapter, a ControlNet."""

    adapter: Callable[[str], Path]
    control: Callable[[str], ControlModel]


def _as_adapter(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


class ImageWish(BaseModel):
    """The body of ``/v1/images/generations``, and the fields of ``/v1/images/edits`` beside its files."""

    model_config = ConfigDict(extra="forbid")

    prompt: str = Field(max_length=32_000)
    model: str | None = None
    n: int | None = Field(None, ge=1, le=10)
    size: str | None = Field(None, description="auto, or WIDTHxHEIGHT in pixels")
    quality: Literal["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"] | None = None
    background: Literal["auto", "opaque", "transparent"] | None = None
    output_format: Literal["png", "jpeg", "webp", "gif", "svg"] | None = None
    output_compression: int | None = Field(None, ge=0, le=100)
    moderation: Literal["auto", "low"] | None = None
    response_format: Literal["b64_json", "url"] | None = None
    stream: bool | None = None
    partial_images: int | None = Field(None, ge=0, le=3)
    style: str | None = Field(None, description="a style of sanakit by name")
    user: str | None = None
    safety_identifier: str | None = None
    input_fidelity: Literal["high", "low"] | None = None
    # ours, as SGLang calls them
    seed: int | Literal["random"] | None = None
    negative_prompt: str | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    guidance_interval: Annotated[tuple[float, float] | None, Listed] = None
    pag_scale: float | None = None
    solver: str | None = None
    flow_shift: float | None = None
    angles: Annotated[tuple[float, ...] | None, Listed] = Field(None, max_length=MAX_STEPS)
    reuse: float | None = None
    upscale: int | None = None
    seamless: bool | None = None
    use_instruction: bool | None = None
    adapters: Annotated[list[Annotated[AdapterWish, BeforeValidator(_as_adapter)]] | None, Listed] = Field(
        None, max_length=MAX_ADAPTERS
    )
    controls: Annotated[list[Annotated[ControlWish, BeforeValidator(_as_adapter)]] | None, Listed] = Field(
        None, max_length=MAX_CONTROLS
    )
    strength: float | None = None
    start_angle: float | None = None
    mask_means: Literal["white", "black", "transparent"] | None = None
    expand: str | None = None
    resample: int | None = None
    metadata: bool = True
    preview_every: int | None = Field(None, ge=1, description="steps between two previews of a stream or a job")
    priority: int = Field(0, ge=-MAX_PRIORITY, le=MAX_PRIORITY)
    deadline: float | None = Field(None, gt=0, le=7 * 86_400, description="seconds from now")


OF_CLIPS = ("num_frames", "fps", "motion_score")
OWN_NAMES = {"num_images": "n", "height": "size", "width": "size", "edit": "mask", "upscaling": "upscale"}
_TAKEN = (
    "prompt", "negative_prompt", "num_inference_steps", "guidance_scale", "guidance_interval", "pag_scale", "solver",
    "flow_shift", "angles", "reuse", "upscale", "seamless", "use_instruction", "strength", "start_angle",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Wishes:
    """What a client wants: requests, and how their pictures are written."""

    requests: Sequence[GenerationRequest]
    form: FileForm


def read_wish(fields: Mapping[str, Any]) -> ImageWish:
    """Raises WishError for the first field that is missing, unknown or not usable."""
    wish = validated(ImageWish, fields)
    _refuse_what_cannot_be(wish)
    return wish


def validated(kind: type[WishT], fields: Mapping[str, Any]) -> WishT:
    """The same for any kind of wish."""
    try:
        return kind.model_validate(dict(fields))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = str(problem["loc"][0]) if problem["loc"] else None
        match problem["type"]:
            case "missing":
                raise WishError(f"{name} is missing; it is required.", name, "missing_required_parameter") from None
            case "extra_forbidden":
                raise WishError(f"there is no parameter {name!r}.", name, "unknown_parameter") from None
        told = re.sub(r"^(Input|String|List|Tuple|Value error,) | after validation", "", problem["msg"])
        raise WishError(f"{name} is not usable; it {told}.", name) from None


def _refuse_what_cannot_be(wish: ImageWish) -> None:
    if wish.background == "transparent":
        raise WishError("no model of sanakit makes transparent pictures yet; leave background out.", "background")
    if wish.output_format in ("gif", "svg"):
        raise WishError(
            f"output_format={wish.output_format} is not made here; take png, jpeg or webp.", "output_format"
        )
    if wish.output_compression is not None and wish.output_format not in ("jpeg", "webp"):
        raise WishError("output_compression belongs to jpeg and webp; leave it out for png.", "output_compression")
    if wish.partial_images and not wish.stream:
        raise WishError("partial_images come over a stream; set stream to true.", "partial_images")


def as_wishes(wish: ImageWish, files: Files, names: Names, *, usual_steps: int = 20) -> Wishes:
    """The requests of a wish: one, or one for each picture that is edited.

    Args:
        usual_steps: of the model, which a quality is more or less of.

    Raises:
        WishError: a field or a file cannot be used.
    """
    fields = {name: value for name in _TAKEN if (value := getattr(wish, name)) is not None}
    fields |= {"num_images": wish.n or 1, "seed": "random" if wish.seed is None else wish.seed}
    with naming("style"):
        if wish.style is not None:
            style = style_named(wish.style)
            fields["prompt"], fields["negative_prompt"] = style.applied(wish.prompt, wish.negative_prompt or "")
    fields |= size_fields(wish.size) | _steps(wish, usual_steps)
    with naming("adapters"):
        fields["adapters"] = tuple(
            AdapterUse.of((names.adapter(each.name), each.weight)) for each in wish.adapters or ()
        )
    with naming("controls"):
        fields["controls"] = tuple(_controls(wish.controls or (), files.controls, names))
    pictures = files.pictures
    _refuse_what_does_nothing(wish, files)
    if len(pictures) > MAX_PICTURES:
        raise WishError(f"{len(pictures)} pictures came, and {MAX_PICTURES} are the most.", "image")
    edit = partial(_edit, wish, files.mask, len(pictures))
    requests = [_request(fields | edit(each)) for each in pictures] if pictures else [_request(fields)]
    form = FileForm(
        format=wish.output_format or "png",  # type: ignore[arg-type]
        quality=wish.output_compression,
        metadata=wish.metadata,
    )
    return Wishes(requests=requests, form=form)


def _refuse_what_does_nothing(wish: ImageWish, files: Files) -> None:
    """Words on an edit without what they are about; and a clip."""
    if files.clip is not None:
        raise WishError("a picture is made from pictures, and not from a clip; leave video out.", "video")
    for name, about_what, there in (
        ("expand", "a picture that is edited", files.pictures),
        ("mask_means", "a mask", files.mask),
        ("resample", "a mask or expand", files.mask or wish.expand),
    ):
        if getattr(wish, name) is not None and not there:
            raise WishError(f"{name} belongs to {about_what}, which did not come; leave it out.", name)


def _request(fields: Mapping[str, Any]) -> GenerationRequest:
    try:
        return GenerationRequest(**fields)
    except RequestError as error:
        raise about(error) from None


def about(error: RequestError) -> WishError:
    """The same, with the parameter that its sentence begins with."""
    if isinstance(error, WishError):
        return error
    word = re.match(r"(?:there is no )?(\w+)(?==| )", str(error))
    name = word[1] if word else ""
    name = OWN_NAMES.get(name, name)
    told = re.sub(r"^(height|width)=(?=\d)", r"size (\1) ", str(error))
    return WishError(told, name if name in (*ImageWish.model_fields, *OF_CLIPS) else None)


def size_fields(size: str | None) -> dict[str, int]:
    """Width and height of ``WIDTHxHEIGHT``, nothing of auto; raises WishError."""
    if size in (None, "auto"):
        return {}
    assert size is not None
    found = _SIZE.fullmatch(size)
    if found is None:
        raise WishError(
            f"size={size[:40]!r} is not usable; it must be auto or such as 1024x768.", "size", "invalid_value"
        )
    return {"width": int(found[1]), "height": int(found[2])}


def _steps(wish: ImageWish, usual: int) -> dict[str, int]:
    """Of a quality: low is half the usual steps, high half as many more; more are not better for models of few."""
    if wish.num_inference_steps is not None or wish.angles is not None or usual < 8:
        return {}
    share = {"low": 0.5, "high": 1.5, "hd": 1.5, "xhigh": 2.0, "max": 2.0}.get(wish.quality or "", 1.0)
    return {} if share == 1.0 else {"num_inference_steps": round(usual * share)}


def _edit(wish: ImageWish, mask: bytes | None, num: int, picture: bytes) -> dict[str, Any]:
    with naming("image"):
        fields: dict[str, Any] = {"image": SourcePicture.of(open_picture(picture))}
    if mask is not None and num > 1:
        raise WishError("a mask belongs to one picture, and several came; edit them one by one.", "mask")
    parts: dict[str, Any] = {}
    with naming("mask"):
        if mask is not None:
            parts["mask"] = Mask.of(open_picture(mask), wish.mask_means)
    if wish.expand is not None:
        parts["expand"] = wish.expand
    if parts:
        parts |= {} if wish.resample is None else {"resample": wish.resample}
        with naming("expand"):
            fields["edit"] = Edit(**parts)
    return fields


def _controls(wishes: Sequence[ControlWish], pictures: Sequence[bytes], names: Names) -> Iterator[ControlUse]:
    """Uses in the order of their pictures; those that nothing is said of are as their network wants them."""
    if len(pictures) > MAX_CONTROLS:  # before any of them is looked at
        raise RequestError(f"{len(pictures)} pictures are to control, and {MAX_CONTROLS} are the most.")
    wishes = wishes or [ControlWish() for _ in pictures]
    if len(wishes) != len(pictures):
        raise RequestError(
            f"{len(pictures)} pictures came for {len(wishes)} controls; give each its image, or a form's file control."
        )
    for wish, picture in zip(wishes, pictures, strict=True):
        yield ControlUse(
            image=SourcePicture.of(open_picture(picture)),
            model=None if wish.name is None else names.control(wish.name),
            **wish.model_dump(include={"type", "scale", "start", "end"}),
        )


def taken_images(fields: Mapping[str, Any]) -> tuple[dict[str, Any], Sequence[bytes]]:
    """The same fields without the images of ``controls``, and these as files.

    Raises:
        WishError: one is no base64.
    """
    controls = fields.get("controls")
    if not isinstance(controls, list) or not any(isinstance(each, dict) and "image" in each for each in controls):
        return dict(fields), ()
    left, images = [], []
    for each in controls:
        if isinstance(each, dict) and isinstance(image := each.get("image"), str):
            images.append(decoded(image, "controls"))
            each = {name: value for name, value in each.items() if name != "image"}
        left.append(each)
    return {**fields, "controls": left}, images


def decoded(image: str, param: str) -> bytes:
    """Base64, also in a data URL; raises WishError for anything else."""
    try:
        return base64.b64decode(image.rpartition(",")[2], validate=True)
    except ValueError:
        raise WishError(f"an image of {param} is no base64; send its file so, or a data URL.", param) from None


class naming:  # noqa: N801 (used as a function)
    """What fails within is the fault of one parameter."""

    def __init__(self, param: str) -> None:
        self._param = param

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (RequestError, PictureError, SanakitError)) and not isinstance(error, WishError):
            raise WishError(str(error), self._param) from None
