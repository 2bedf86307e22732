"""What a user may ask for, checked once for the command line, Python, the server and replays."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from sanakit.common.errors import RequestError
from sanakit.common.seeds import MAX_SEED
from sanakit.sampling.solvers import solver_kind, solver_names

MAX_SIDE = 16384
MAX_STEPS = 1000
MAX_IMAGES = 1000
UPSCALES = (2, 4)  # times a side, by a small network after the model's own


def _rising(interval: tuple[float, float]) -> tuple[float, float]:
    if not 0.0 <= interval[0] <= interval[1] <= 1.0:
        raise ValueError("not two rising noise levels")
    return interval


def _offered_scale(scale: int) -> int:
    if scale not in (1, *UPSCALES):
        raise ValueError("not offered")
    return scale


def _encodable(text: str) -> str:
    text.encode()  # half of a surrogate pair, from bytes that were not UTF-8: no tokenizer can read it
    return text


Text = Annotated[str, AfterValidator(_encodable)]
Side = Annotated[int, Field(ge=32, le=MAX_SIDE, description=f"a whole number of pixels from 32 to {MAX_SIDE}")]
Scale = Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False, description="a number from 0 to 1000")]


class GenerationRequest(BaseModel):
    """One prompt and everything that decides its pictures; ``None`` means the model's own value.

    Every field's description completes the sentence "NAME must be ...", which is what a bad value is answered with.
    An empty prompt is allowed: it asks for an unconditional picture.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: Text = Field(description="text in valid Unicode, of any language and length")
    negative_prompt: Text = Field("", description="text in valid Unicode, or empty for none")
    height: Side | None = Field(None, description=f"a whole number of pixels from 32 to {MAX_SIDE}")
    width: Side | None = Field(None, description=f"a whole number of pixels from 32 to {MAX_SIDE}")
    num_inference_steps: int | None = Field(
        None, ge=1, le=MAX_STEPS, description=f"a whole number of steps from 1 to {MAX_STEPS}"
    )
    guidance_scale: Scale | None = Field(None, description="a number from 0 to 1000 (up to 1 is off)")
    guidance_interval: Annotated[tuple[float, float], AfterValidator(_rising)] = Field(
        (0.0, 1.0), description="two rising noise levels between 0 and 1, outside of which guidance is off"
    )
    pag_scale: Scale = Field(0.0, description="a number from 0 (off) to 1000")
    solver: Annotated[str, AfterValidator(lambda name: solver_kind(name).name)] | None = Field(
        None, description=solver_names()
    )
    flow_shift: float | None = Field(
        None, gt=0, le=1000, allow_inf_nan=False, description="a number above 0, at most 1000"
    )
    seed: int = Field(0, ge=0, le=MAX_SEED, description=f"a whole number from 0 to {MAX_SEED}")
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
                raise RequestError(_sentence(error)) from None
            self._check_together()

    def _check_together(self) -> None:
        """Refuse combinations that no field can see alone."""
        if self.pag_scale > 0 and self.guidance_interval != (0.0, 1.0):
            raise RequestError("guidance_interval and pag_scale cannot be combined; leave one of them out.")
        if (self.height is None) != (self.width is None):
            raise RequestError(
                f"a size needs both sides, but height={self.height} and width={self.width}; give both or neither."
            )


def as_requests(
    request: str | GenerationRequest | Sequence[GenerationRequest], fields: Mapping[str, Any]
) -> list[GenerationRequest]:
    """A prompt with ``fields``, one request, or several, as a list.

    Raises:
        RequestError: ``fields`` came with a finished request, there is nothing to do, or it is something else.
    """
    if isinstance(request, str):
        if "prompt" in fields:
            prompt = _short(fields["prompt"])
            raise RequestError(f"prompt={prompt} comes beside the prompt {_short(request)}; give one of them.")
        return [GenerationRequest(prompt=request, **fields)]
    if fields:
        raise RequestError(f"{', '.join(fields)} would be ignored beside a finished request; set them in the request.")
    if not isinstance(request, (GenerationRequest, Iterable)) or isinstance(request, (bytes, bytearray, Mapping)):
        raise RequestError(f"{_short(request)} is no request; give a prompt, a GenerationRequest or several of these.")
    requests: list[Any] = [request] if isinstance(request, GenerationRequest) else list(request)
    if not requests:
        raise RequestError("there is no request; give at least one prompt.")
    for each in requests:
        if not isinstance(each, GenerationRequest):
            raise RequestError(f"{_short(each)} in the list is no GenerationRequest; make one with prompt=...")
    return requests


def _sentence(error: ValidationError) -> str:
    """The first problem that pydantic found, in our words."""
    problem = error.errors(include_url=False)[0]
    name = str(problem["loc"][0]) if problem["loc"] else "request"
    field = GenerationRequest.model_fields.get(name)
    if field is None:
        return f"there is no setting named {name!r}; the settings are {', '.join(GenerationRequest.model_fields)}."
    if problem["type"] == "missing":
        return f"{name} is missing; it must be {field.description}."
    return f"{name}={_short(problem['input'])} is not usable; it must be {field.description}."


def _short(value: object) -> str:
    text = str(value) if isinstance(value, float) and not math.isfinite(value) else ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."
