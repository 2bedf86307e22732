"""One step: which micro-batches it takes, their gradients, and what is known of it afterwards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sanakit.common.ranks import Ranks, sum_over_ranks
from sanakit.features.batches import TrainingData
from sanakit.training.run.run_config import RunConfig
from sanakit.training.run.stage import Trainee, microbatch_seed
from sanakit.training.step.parallel import attention_for, autocast, clip_gradients, gather_gradients, loss_scale


@dataclass(frozen=True, slots=True)
class StepPlan:
    """This process's part of a step.

    Attributes:
        numbers: of its micro-batches, as many on every process.
        weights: of their losses: samples of the micro-batch / samples of the step. Where the last step of an epoch has
            too few for all, a process computes one that another one has with a weight of 0, so that all of them keep
            in step.
        num_microbatches, num_samples: of the step on all processes.
    """

    numbers: tuple[int, ...]
    weights: tuple[float, ...]
    num_microbatches: int
    num_samples: int


def plan_step(data: TrainingData[Any], position: int, end: int | None, accumulation: int, ranks: Ranks) -> StepPlan:
    """The share of a step that begins at micro-batch ``position`` of the stage and stays before ``end``."""
    stop = position + accumulation * ranks.world
    every = range(position, stop if end is None else min(stop, end))
    samples = [data.num_samples(number) for number in every]
    rounds = -(-len(every) // ranks.world)
    mine = list(every[ranks.rank :: ranks.world])
    weights = [data.num_samples(number) / sum(samples) for number in mine]
    if len(mine) < rounds:
        mine, weights = [*mine, every[-1]], [*weights, 0.0]
    return StepPlan(tuple(mine), tuple(weights), len(every), sum(samples))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a trainee's gradients came from.

    ``terms`` are means over the whole step; ``sigma`` and ``per_sample`` are of this process's samples.
    """

    terms: dict[str, float]
    gradient_norm: float
    sigma: Tensor | None
    per_sample: Tensor | None

    @property
    def is_finite(self) -> bool:
        return math.isfinite(self.terms["loss"]) and math.isfinite(self.gradient_norm)


def compute_gradients(
    trainee: Trainee,
    plan: StepPlan,
    batches: Sequence[Any],
    stage: int,
    config: RunConfig,
    *,
    ranks: Ranks,
    device: str,
) -> Outcome:
    """Forward and backward of all micro-batches; the clipped gradient of the whole step is left in the model."""
    trainee.model.zero_grad(set_to_none=True)
    scale = loss_scale(trainee.model, ranks)
    sums: dict[str, Tensor] = {}
    bands: list[tuple[Tensor, Tensor]] = []
    for number, weight, batch in zip(plan.numbers, plan.weights, batches, strict=True):
        generator = torch.Generator().manual_seed(microbatch_seed(config.seed, stage, number))
        with attention_for(device):
            with autocast(device, config.precision):
                terms = trainee.loss(batch, generator)
            (terms["loss"] * (weight * scale)).backward()
        for name, term in terms.items():
            if term.ndim == 0:
                sums[name] = sums.get(name, 0.0) + term.detach().double() * weight
        if "sigma" in terms and "per_sample" in terms and weight:
            bands.append((terms["sigma"].detach(), terms["per_sample"].detach()))
    gather_gradients(trainee.model, ranks=ranks)
    norm = clip_gradients(trainee.model, config.gradient_clip)
    values = sum_over_ranks(torch.stack(list(sums.values())).tolist(), ranks)
    sigma, per_sample = (torch.cat(part) for part in zip(*bands, strict=True)) if bands else (None, None)
    return Outcome(dict(zip(sums, values, strict=True)), norm, sigma, per_sample)
