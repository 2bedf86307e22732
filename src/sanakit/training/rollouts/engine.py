"""Who makes the pictures: an ordinary pipeline whose transformer is a copy of the policy, refreshed in place.

Solvers, noise and decoding are those of every picture, so a rollout in full precision is the picture that the pipeline
makes of its seed, to the bit on the CPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor, nn

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.kernels.arithmetic import own_arithmetic
from sanakit.models.transformers.linear_dit import LinearDiT
from sanakit.pipelines.clips.clip import GeneratedClip
from sanakit.pipelines.denoise import Finished, StepTaken, denoise
from sanakit.pipelines.latent_file import SavedLatent
from sanakit.pipelines.plan import PicturePlan, plan_pictures
from sanakit.pipelines.record import ModelReference
from sanakit.pipelines.request import GenerationRequest
from sanakit.pipelines.result import GeneratedImage
from sanakit.pipelines.text_to_image import TextToImagePipeline
from sanakit.quantization.layers import QuantizedLayer
from sanakit.quantization.quantize import quantize_
from sanakit.quantization.schemes import scheme_named
from sanakit.sampling.stochastic import StochasticSolver
from sanakit.scoring.rewards.reward import Clip, Shown


@dataclass(frozen=True, slots=True, eq=False)
class Rolled:
    """A picture or clip on the CPU and how it came about: the latents before its steps and the clean one after them,
    ``(S, C, h, w)`` or ``(S, C, t, h, w)``, or the clean one alone."""

    seed: int
    path: Tensor
    image: Shown


class Engine:
    """A pipeline for rollouts.

    Args:
        bundle: the model, whose transformer is a copy of the policy that nobody else changes.
        scheme: exchange its layers for ones in fewer bits, but for those whose larger side is at most
            ``min_features``.

    Attributes:
        revision: whose weights it has; "" before the first refresh.
    """

    def __init__(self, bundle: ModelBundle, *, scheme: str | None = None, min_features: int = 0) -> None:
        self.scheme, self.revision = scheme, ""
        network = bundle.transformer.eval().requires_grad_(False)
        if scheme is not None:
            sizes = {name: max(layer.weight.shape) for name, layer in network.named_modules() if _has_matrix(layer)}
            only = [name for name, size in sizes.items() if size > min_features]
            quantize_(network, scheme_named(scheme), only=only)
        self.pipeline = TextToImagePipeline(bundle)

    @property
    def transformer(self) -> LinearDiT | Any:
        return self.pipeline.bundle.transformer

    @property
    def precision(self) -> str:
        """What it computes in, for records."""
        return self.scheme or self.pipeline.bundle.precision

    @torch.no_grad()
    def refresh(self, weights: Mapping[str, Tensor], revision: str) -> None:
        """Take whole weights of the network, in place: layers in fewer bits are encoded anew."""
        encoded = set[str]()
        for name, layer in self.transformer.named_modules():
            if isinstance(layer, QuantizedLayer):
                weight = weights[f"{name}.weight"].to(self.transformer.device)
                bias = None if layer.bias is None else weights[f"{name}.bias"].to(layer.bias)
                layer.take_(cast(nn.Module, SimpleNamespace(weight=weight, bias=bias, training=False)))
                encoded |= {f"{name}.{leaf}" for leaf in ("weight", "bias")}
        rest = {name: tensor for name, tensor in weights.items() if name not in encoded}
        self.transformer.load_state_dict(rest, strict=not encoded)
        self.revision = revision

    def plans(self, requests: Sequence[GenerationRequest], sampler: StochasticSolver | None) -> list[PicturePlan]:
        """Of rollouts; with ``sampler`` in place of the solver of the requests."""
        pipeline = self.pipeline
        plans = plan_pictures(requests, pipeline.bundle.card, pipeline.granularity, pipeline.reader)
        return plans if sampler is None else [replace(plan, solver=sampler) for plan in plans]

    @torch.no_grad()
    @own_arithmetic()
    def make(self, plans: Sequence[PicturePlan], *, keep_path: bool = False) -> list[Rolled]:
        """The pictures of some plans, in their order.

        Raises:
            SanakitError: a latent or a picture holds values that are not numbers.
        """
        pipeline, paths = self.pipeline, {index: list[Tensor]() for index in range(len(plans))}
        for event in denoise(pipeline.denoiser(), pipeline.jobs(plans)):
            if isinstance(event, StepTaken) and keep_path:
                paths[event.key].append(event.evaluation.latent.cpu())
            elif isinstance(event, Finished):
                paths[event.key].append(event.latent.cpu())
        return [self._rolled(plan, torch.cat(paths[index])) for index, plan in enumerate(plans)]

    def _rolled(self, plan: PicturePlan, path: Tensor) -> Rolled:
        record = self.pipeline.record_of(plan, self._model())
        assert plan.request.seed is not None
        return Rolled(
            plan.request.seed, path, shown_of(self.pipeline.decode(SavedLatent(latent=path[-1:], record=record)))
        )

    def _model(self) -> ModelReference:
        """Named by whose weights it has: nothing is hashed for records that no file keeps."""
        bundle, name = self.pipeline.bundle, self.pipeline.bundle.card.name
        return ModelReference(name=name, source=name, kind="memory", hash=self.revision, dtypes=bundle.precisions)


def shown_of(made: GeneratedImage) -> Shown:
    """As rewards look at it."""
    return Clip(made.pictures, made.fps) if isinstance(made, GeneratedClip) else made.picture


def _has_matrix(layer: nn.Module) -> bool:
    weight = layer._parameters.get("weight")
    return weight is not None and weight.ndim > 1
