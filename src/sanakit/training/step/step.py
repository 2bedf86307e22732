"""One step: the gradients of its micro-batches, and what is known of them afterwards."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sanakit.common.ranks import sum_over_ranks
from sanakit.features.batches import NamedSample
from sanakit.training.run.session import Session
from sanakit.training.step.parallel import attention_for, autocast, clip_gradients, gather_gradients, loss_scale
from sanakit.training.step.trainee import Made, Trainee


@dataclass(frozen=True, slots=True)
class WeightedBatch:
    """A micro-batch of a step.

    Attributes:
        number: in its stage.
        batch: on the device.
        seed: of its noise.
        weight: of its loss in the step's.
        made: what the trainees of the step hand on.
        describe: gives its samples by name, none if nobody knows them.
    """

    number: int
    batch: Any
    seed: int
    weight: float = 1.0
    made: Made = field(default_factory=dict)
    describe: Callable[[], Sequence[NamedSample]] = tuple


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a trainee's gradients came from.

    ``terms`` are means over the whole step; ``sigma`` and ``per_sample`` are of this process's samples.
    """

    terms: dict[str, float]
    gradient_norm: float
    sigma: Tensor | None = None
    per_sample: Tensor | None = None

    @property
    def is_finite(self) -> bool:
        return math.isfinite(self.terms["loss"]) and math.isfinite(self.gradient_norm)


def compute_gradients(session: Session, trainee: Trainee, batches: Sequence[WeightedBatch]) -> Outcome:
    """Forward and backward of all micro-batches; the clipped gradient of the whole step is left in the model."""
    trainee.model.zero_grad(set_to_none=True)
    scale = loss_scale(trainee.model, session.ranks)
    sums: dict[str, Tensor] = {}
    bands: list[tuple[Tensor, Tensor]] = []
    for micro in batches:
        terms = backward(session, trainee, micro, weight=micro.weight * scale)
        for name, term in terms.items():
            if term.ndim == 0:
                sums[name] = sums.get(name, 0.0) + term.detach().double() * micro.weight
        if "sigma" in terms and "per_sample" in terms and micro.weight:
            bands.append((terms["sigma"].detach(), terms["per_sample"].detach()))
    gather_gradients(trainee.model, ranks=session.ranks)
    norm = clip_gradients(trainee.model, trainee.clip or session.config.gradient_clip)
    values = sum_over_ranks(torch.stack(list(sums.values())).tolist(), session.ranks)
    sigma, per_sample = (torch.cat(part) for part in zip(*bands, strict=True)) if bands else (None, None)
    return Outcome(dict(zip(sums, values, strict=True)), norm, sigma, per_sample)


def backward(session: Session, trainee: Trainee, micro: WeightedBatch, *, weight: float = 1.0) -> Mapping[str, Tensor]:
    """The terms of one micro-batch; the gradient of its loss times ``weight`` is added in the model."""
    generator = torch.Generator().manual_seed(micro.seed)
    with attention_for(session.device):
        with autocast(session.device, session.config.precision):
            terms = trainee.loss(micro.batch, generator, micro.made)
        (terms["loss"] * weight).backward()
    return terms
