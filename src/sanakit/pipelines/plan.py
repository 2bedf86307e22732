"""From requests to single pictures: every default filled in, every picture with its own seed and size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from sanakit.checkpoints.identity.card import ModelCard
from sanakit.common.errors import RequestError
from sanakit.common.seeds import image_seed
from sanakit.pipelines.request import GenerationRequest
from sanakit.pipelines.resolution import PictureSize, plan_size
from sanakit.sampling.guidance import ClassifierFreeGuidance, Guidance, NoGuidance, PerturbedAttentionGuidance
from sanakit.sampling.schedules import flow_dpm_schedule, flow_euler_schedule
from sanakit.sampling.solvers import Solver, flow_dpm_solver, flow_euler_solver


@dataclass(frozen=True, kw_only=True, slots=True)
class PicturePlan:
    """One picture to make.

    ``request`` is complete: no field is ``None``, ``num_images`` is 1 and the seed is that of this very picture.
    """

    request: GenerationRequest
    size: PictureSize


def plan_pictures(requests: Sequence[GenerationRequest], card: ModelCard, granularity: int) -> list[PicturePlan]:
    """Every picture of every request, in order.

    Raises:
        RequestError: the model cannot do what a request asks for.
    """
    return [plan for request in requests for plan in _pictures_of(request, card, granularity)]


def _pictures_of(request: GenerationRequest, card: ModelCard, granularity: int) -> Iterator[PicturePlan]:
    if request.pag_scale > 0 and not card.pag_layers:
        raise RequestError(
            f"pag_scale={request.pag_scale:g} needs layers to perturb, and {card.name} names none; leave it at 0."
        )
    size = size_of(request, card, granularity)
    defaults = {
        "num_inference_steps": card.num_inference_steps, "guidance_scale": card.guidance_scale,
        "solver": card.solver, "flow_shift": card.flow_shift,
    }  # fmt: skip
    own = {name: value for name, value in defaults.items() if getattr(request, name) is None}
    for index in range(request.num_images):
        seed = image_seed(request.seed, index)
        fields = own | {"height": size.height, "width": size.width, "seed": seed, "num_images": 1}
        yield PicturePlan(request=request.model_copy(update=fields), size=size)


def size_of(request: GenerationRequest, card: ModelCard, granularity: int) -> PictureSize:
    """The size that a request asks of this model.

    Raises:
        RequestError: the model cannot make it.
    """
    return plan_size(
        request.height, request.width, base_size=card.base_size, granularity=granularity,
        use_binning=request.use_resolution_binning,
    )  # fmt: skip


def build_solver(request: GenerationRequest, noise: Tensor) -> Solver:
    """The solver that a complete request names, started from ``noise``."""
    assert request.num_inference_steps is not None
    assert request.flow_shift is not None
    if request.solver == "flow-euler":
        return flow_euler_solver(noise, flow_euler_schedule(request.num_inference_steps, request.flow_shift))
    return flow_dpm_solver(noise, flow_dpm_schedule(request.num_inference_steps, request.flow_shift))


def build_guidance(request: GenerationRequest, card: ModelCard) -> Guidance:
    """The guidance that a complete request asks for."""
    assert request.guidance_scale is not None
    scale = request.guidance_scale
    if request.pag_scale > 0:
        return PerturbedAttentionGuidance(scale=scale, pag_scale=request.pag_scale, layers=card.pag_layers)
    if scale > 1:
        return ClassifierFreeGuidance(scale=scale, interval=request.guidance_interval)
    return NoGuidance()
