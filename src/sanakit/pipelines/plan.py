"""From requests to single pictures: every default filled in, every picture with its own seed and size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sanakit.checkpoints.identity.card import ImageDefaults, ModelCard
from sanakit.common.errors import RequestError
from sanakit.common.seeds import image_seed
from sanakit.pipelines.request import GenerationRequest
from sanakit.pipelines.resolution import PictureSize, plan_size
from sanakit.sampling.guidance import ClassifierFreeGuidance, Guidance, PerturbedAttentionGuidance
from sanakit.sampling.solvers import SolverConfig, solver_kind


@dataclass(frozen=True, kw_only=True, slots=True)
class PicturePlan:
    """One picture to make: a completed request."""

    prompt: str
    negative_prompt: str
    use_instruction: bool
    use_resolution_binning: bool
    size: PictureSize
    seed: int
    solver: SolverConfig
    guidance: Guidance

    def request(self) -> GenerationRequest:
        """The same as a request without a ``None``, for one picture: what a record stores."""
        match self.guidance:
            case ClassifierFreeGuidance(interval=interval):
                pag_scale = 0.0
            case PerturbedAttentionGuidance(pag_scale=pag_scale):
                interval = (0.0, 1.0)
        return GenerationRequest(
            prompt=self.prompt,
            negative_prompt=self.negative_prompt,
            height=self.size.height,
            width=self.size.width,
            num_inference_steps=self.solver.num_steps,
            guidance_scale=self.guidance.scale,
            guidance_interval=interval,
            pag_scale=pag_scale,
            solver=self.solver.name,
            flow_shift=self.solver.flow_shift,
            seed=self.seed,
            use_resolution_binning=self.use_resolution_binning,
            use_instruction=self.use_instruction,
        )


def plan_pictures(requests: Sequence[GenerationRequest], card: ModelCard, granularity: int) -> list[PicturePlan]:
    """Every picture of every request, in order.

    Args:
        requests: what is asked for.
        card: of the model, for what was not said.
        granularity: both generated sides are multiples of it.

    Raises:
        RequestError: the model cannot do what a request asks for.
    """
    return [plan for request in requests for plan in _pictures_of(request, card, granularity)]


def _pictures_of(request: GenerationRequest, card: ModelCard, granularity: int) -> Iterator[PicturePlan]:
    size = plan_size(
        request.height,
        request.width,
        base_size=card.defaults.base_size,
        granularity=granularity,
        use_binning=request.use_resolution_binning,
    )
    guidance, solver = _guidance(request, card), _solver(request, card.defaults)
    for index in range(request.num_images):
        yield PicturePlan(
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            use_instruction=request.use_instruction,
            use_resolution_binning=request.use_resolution_binning,
            size=size,
            seed=image_seed(request.seed, index),
            solver=solver,
            guidance=guidance,
        )


def _solver(request: GenerationRequest, defaults: ImageDefaults) -> SolverConfig:
    return solver_kind(request.solver or defaults.solver)(
        num_steps=request.num_inference_steps or defaults.num_inference_steps,
        flow_shift=request.flow_shift or defaults.flow_shift,
    )


def _guidance(request: GenerationRequest, card: ModelCard) -> Guidance:
    scale = card.defaults.guidance_scale if request.guidance_scale is None else request.guidance_scale
    if request.pag_scale == 0:
        return ClassifierFreeGuidance(scale=scale, interval=request.guidance_interval)
    if not card.defaults.pag_layers:
        raise RequestError(
            f"pag_scale={request.pag_scale:g} needs layers to perturb, and {card.name} names none; leave it at 0."
        )
    return PerturbedAttentionGuidance(scale=scale, pag_scale=request.pag_scale, layers=card.defaults.pag_layers)
