"""From requests to single pictures: every default filled in, every picture with its own seed and size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sanakit.checkpoints.identity.card import ModelCard, VideoDefaults
from sanakit.common.errors import RequestError
from sanakit.common.seeds import image_seed
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig
from sanakit.pipelines.clips.plan import as_clips, motion_suffix, size_of_clip
from sanakit.pipelines.editing.canvas import Canvas
from sanakit.pipelines.reading.read import PromptReader
from sanakit.pipelines.request import MAX_SIDE, MIN_SIDE, GenerationRequest, VideoRequest
from sanakit.pipelines.resolution import check_upscaled_size, generated_size, size_around, size_like, size_near
from sanakit.pipelines.sources.clip import Excerpt
from sanakit.sampling.guidance import ClassifierFreeGuidance, EmbeddedGuidance, Guidance, PerturbedAttentionGuidance
from sanakit.sampling.scm import SCM
from sanakit.sampling.solvers import SolverConfig, solver_of

ENHANCING_STRENGTH = 0.3  # of a picture that is made larger and should stay what it is
DEFAULT_STRENGTH = 0.6  # of the steps, where a picture or a clip is changed and nothing is said
_ALL_NOISE = 1.5  # an angle beyond which nothing of a picture is seen
DEFAULT_START_ANGLE = 1.3  # of a consistency model, whose few steps have no fine shares


@dataclass(frozen=True, kw_only=True, slots=True)
class PicturePlan:
    """One picture to make: ``request`` is complete (no ``None``), as a record stores it.

    ``read_as`` is what its prompt is told to the model as, None where that is the prompt itself.
    """

    request: GenerationRequest
    generated: tuple[int, int]  # height and width that the network makes, in pixels
    solver: SolverConfig
    guidance: Guidance
    read_as: str | None = None
    start: int = 0  # the first step of the solver; later ones begin with a picture or a clip
    suffix: str = ""  # behind the prompt, as the text encoder gets it

    @property
    def num_frames(self) -> int | None:
        """Of a clip."""
        return self.request.num_frames if isinstance(self.request, VideoRequest) else None

    @property
    def keeps_first_frame(self) -> bool:
        """It is a clip whose first frame is a picture that was given, or the last frame of another clip."""
        request = self.request
        return isinstance(request, VideoRequest) and (request.image is not None or request.extend)

    @property
    def excerpt(self) -> Excerpt | None:
        """The frames that a clip is made from, or goes on behind, if it is made from another one."""
        return self.request.excerpt if isinstance(self.request, VideoRequest) else None

    @property
    def told(self) -> str:
        """The prompt as the text encoder gets it."""
        return (self.request.prompt if self.read_as is None else self.read_as) + self.suffix

    @property
    def is_larger(self) -> bool:
        """Than the model makes pictures by itself, perhaps."""
        return self.request.edit is not None and self.request.edit.factor > 1


def plan_pictures(
    requests: Sequence[GenerationRequest], card: ModelCard, granularity: int, reader: PromptReader | None = None,
    *, temporal: int = 1,
) -> list[PicturePlan]:  # fmt: skip
    """Every picture of every request, in order.

    Args:
        requests: what is asked for.
        card: of the model, for what was not said.
        granularity: both generated sides are multiples of it.
        reader: of prompts, for models that have a table of their words.
        temporal: frames of a clip are one more than a multiple of it.

    Raises:
        RequestError: the model cannot do what a request asks for.
    """
    defaults = card.defaults
    if isinstance(defaults, VideoDefaults):
        clips = [request for request in requests if isinstance(request, VideoRequest)]
        if len(clips) < len(requests):
            raise RequestError(f"{card.name} makes clips; ask for one with num_frames= (--frames), or a VideoRequest.")
        each = (clip for request in clips for clip in as_clips(request, defaults, temporal))
        return [_plan_of_clip(clip, card, granularity, reader) for clip in each]
    if any(isinstance(request, VideoRequest) for request in requests):
        raise RequestError(
            f"{card.name} makes pictures, not clips; give a model of clips, or leave out num_frames, fps, "
            f"motion_score, clip and names of clips such as .mp4."
        )
    return [plan for request in requests for plan in _pictures_of(request, card, granularity, reader)]


def _plan_of_clip(request: VideoRequest, card: ModelCard, granularity: int, reader: PromptReader | None) -> PicturePlan:
    generated = size_of_clip(request, card.defaults.base_size, granularity)
    guidance, solver = _guidance(request, card), _solver(request, card)
    if isinstance(solver, SCM):
        raise RequestError(f"the solver {solver.name} is of pictures in few steps, and no model of clips knows it.")
    told: dict[str, Any] = {
        "num_inference_steps": solver.num_steps,
        "guidance_scale": guidance.scale,
        "solver": solver.name,
        "flow_shift": solver.flow_shift,
    }
    if request.clip is not None and not request.extend:
        told["strength"] = request.strength or DEFAULT_STRENGTH
    told_as = reader.read(request.prompt).text if reader is not None else request.prompt
    return PicturePlan(
        request=request.model_copy(update=told),
        generated=generated,
        solver=solver,
        guidance=guidance,
        read_as=told_as if told_as != request.prompt else None,
        start=first_step(solver.num_steps, told.get("strength", 1.0)),
        suffix=motion_suffix(request),
    )


def _pictures_of(
    request: GenerationRequest, card: ModelCard, granularity: int, reader: PromptReader | None
) -> Iterator[PicturePlan]:
    height, width, generated = _sizes(request, card.defaults.base_size, granularity)
    check_upscaled_size(height, width, request.upscale)
    guidance, solver = _guidance(request, card), _solver(request, card)
    told = {
        "height": height,
        "width": width,
        "num_inference_steps": solver.num_steps,
        "guidance_scale": guidance.scale,
        "solver": solver.name,
        "num_images": 1,
    }
    told |= {"angles": solver.angles} if isinstance(solver, SCM) else {"flow_shift": solver.flow_shift}
    solver, start, beginning = _beginning(request, solver)
    told |= beginning
    told_as = reader.read(request.prompt).text if reader is not None else request.prompt
    read_as = told_as if told_as != request.prompt else None
    for index in range(request.num_images):
        complete = GenerationRequest(**{**dict(request), **told, "seed": image_seed(request.seed, index)})
        yield PicturePlan(
            request=complete, generated=generated, solver=solver, guidance=guidance, read_as=read_as, start=start
        )


def _sizes(request: GenerationRequest, side: int, granularity: int) -> tuple[int, int, tuple[int, int]]:
    """Height and width of the picture, and both as the network makes them."""
    if request.image is not None and request.edit is not None:
        height, width = request.edit.size(request.image.height, request.image.width)
        height, width = request.height or height, request.width or width
        if not all(MIN_SIDE <= side <= MAX_SIDE for side in (height, width)):
            raise RequestError(
                f"{request.image} would become {width}x{height} px; an edited picture has from {MIN_SIDE} to "
                f"{MAX_SIDE} px a side."
            )
        size = size_near if request.edit.factor == 1 else size_around
        return height, width, size(height, width, side, granularity)
    height, width = request.height or side, request.width or side
    shape = request.image or next((use.image for use in request.controls), None)
    if shape is not None and request.height is None:
        height, width = size_like(shape.height, shape.width, side, granularity)
    made = generated_size(height, width, side, granularity, use_binning=request.use_resolution_binning)
    if request.seamless and made != (height, width):
        raise RequestError(
            f"seamless needs a size that the model makes as it is, so that nothing is cut off; the nearest to "
            f"{width}x{height} is {made[1]}x{made[0]}."
        )
    return height, width, made


def latent_shape(plan: PicturePlan, channels: int, autoencoder: DCAutoencoderConfig | Any) -> tuple[int, ...]:
    """``(C, h, w)`` of a picture, ``(C, t, h, w)`` of a clip, as an autoencoder of this config decodes it."""
    num, temporal = plan.num_frames, autoencoder.temporal_compression
    frames = () if num is None else (1 + (num - 1) // temporal,)
    return (channels, *frames, *(side // autoencoder.compression for side in plan.generated))


def canvas_of(request: GenerationRequest) -> Canvas | None:
    """Of a complete request, if it edits a picture."""
    if request.edit is None or request.image is None:
        return None
    assert request.height is not None
    assert request.width is not None
    return Canvas(
        image=request.image,
        edit=request.edit,
        height=request.height,
        width=request.width,
        anew=request.strength == 1 or (request.start_angle or 0.0) > _ALL_NOISE,
    )


def _solver(request: GenerationRequest, card: ModelCard) -> SolverConfig:
    defaults = card.defaults
    name, steps = request.solver or defaults.solver, request.num_inference_steps or defaults.num_inference_steps
    if name == SCM.name:
        _refuse(request, ("flow_shift", "reuse"), f"the solver {SCM.name}, whose steps are angles with new noise")
    else:
        _refuse(request, ("angles",), f"the solver {name}; angles belong to {SCM.name}")
    if card.distilled and name != SCM.name:
        raise RequestError(
            f"{card.name} is distilled for the solver {SCM.name}, and {name} cannot use it; leave it out."
        )
    return solver_of(name, num_steps=steps, flow_shift=request.flow_shift or defaults.flow_shift, angles=request.angles)


def _beginning(request: GenerationRequest, solver: SolverConfig) -> tuple[SolverConfig, int, dict[str, float]]:
    """The solver and its first step where a picture is changed, and how the request says that."""
    if request.image is None:
        return solver, 0, {}
    anew = request.edit is not None and request.edit.changes_parts
    if isinstance(solver, SCM) and request.strength is None:
        angle = request.start_angle or (solver.angles[0] if anew else min(DEFAULT_START_ANGLE, solver.angles[0]))
        return solver.beginning_at(angle), 0, {"start_angle": angle}
    _refuse(request, ("start_angle",), f"the solver {solver.name}, which begins where strength says")
    larger = request.edit is not None and request.edit.factor > 1
    strength = request.strength or (1.0 if anew else ENHANCING_STRENGTH if larger else DEFAULT_STRENGTH)
    return solver, first_step(solver.num_steps, strength), {"strength": strength}


def first_step(num_steps: int, strength: float) -> int:
    """The step that a share ``strength`` of all steps begins with, as diffusers counts: parts of a step are done."""
    return min(int(max(num_steps - min(num_steps * strength, num_steps), 0)), num_steps - 1)


def _guidance(request: GenerationRequest, card: ModelCard) -> Guidance:
    scale = card.defaults.guidance_scale if request.guidance_scale is None else request.guidance_scale
    if card.distilled:
        others = ("negative_prompt", "guidance_interval", "pag_scale")
        _refuse(request, others, f"{card.name}, which reads its guidance scale itself and is called once a step")
        return EmbeddedGuidance(scale=scale)
    if request.pag_scale == 0:
        return ClassifierFreeGuidance(scale=scale, interval=request.guidance_interval)
    if not card.defaults.pag_layers:
        raise RequestError(
            f"pag_scale={request.pag_scale:g} needs layers to perturb, and {card.name} names none; leave it at 0."
        )
    return PerturbedAttentionGuidance(scale=scale, pag_scale=request.pag_scale, layers=card.defaults.pag_layers)


def _refuse(request: GenerationRequest, names: Sequence[str], beside: str) -> None:
    """Raises RequestError where one of these settings is not as it is when nothing is said."""
    for name in names:
        if getattr(request, name) != GenerationRequest.model_fields[name].default:
            raise RequestError(f"{name} has no meaning beside {beside}; leave it out.")
