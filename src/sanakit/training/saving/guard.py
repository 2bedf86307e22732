"""What happens at the first number that is not one: the step is kept as a bundle, and the run stops.

A bundle (``guard/step-N/``) needs no data set to be replayed: ``batch.safetensors`` holds the micro-batch and what else
the loss knows, ``weights.safetensors`` the weights before the step, ``random.safetensors`` the random generators, and
``guard.json`` the recipe, the step, the terms of the loss and the range of every module's output.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sanakit.common.config import to_mapping
from sanakit.common.errors import OutputError, SanakitError
from sanakit.common.ranks import Ranks, sum_over_ranks, wait_for_all
from sanakit.training.run.run_config import Precision, RunConfig
from sanakit.training.run.run_state import RunState
from sanakit.training.run.stage import Trainee, microbatch_seed
from sanakit.training.step.ema import local
from sanakit.training.step.parallel import attention_for, autocast, whole_state
from sanakit.training.step.random_state import random_state
from sanakit.training.step.step import Outcome, StepPlan

BUNDLE_FILE = "guard.json"


class NonFiniteError(SanakitError, FloatingPointError):
    """The loss or its gradient is not finite."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepDiagnosis:
    """One micro-batch looked at closely.

    Attributes:
        terms: scalars of the loss.
        gradient_norm: of this micro-batch alone, not clipped.
        ranges: least and greatest value of each module's output, in the order of the forward pass; NaN counts as both.
        culprit: what is not finite first, in words; "" if everything is.
    """

    terms: dict[str, float]
    gradient_norm: float
    ranges: dict[str, tuple[float, float]]
    culprit: str


def stop_at_bad_step(
    trainee: Trainee,
    plan: StepPlan,
    batches: Sequence[Any],
    outcome: Outcome,
    state: RunState,
    config: RunConfig,
    folder: Path,
    *,
    ranks: Ranks,
    device: str,
) -> NoReturn:
    """Find the micro-batch and the module, write the bundle, and raise. All processes must call; the weights stay.

    Raises:
        NonFiniteError: always.
    """
    found = [
        examine(
            trainee, batch, microbatch_seed(config.seed, state.stage, number), precision=config.precision, device=device
        )
        for number, batch in zip(plan.numbers, batches, strict=True)
    ]
    index = next((i for i, diagnosis in enumerate(found) if diagnosis.culprit), 0)
    mine, number = found[index], plan.numbers[index]
    flags = sum_over_ranks([float(rank == ranks.rank and bool(mine.culprit)) for rank in range(ranks.world)], ranks)
    writer = next((rank for rank, flag in enumerate(flags) if flag), 0)
    weights = whole_state(trainee.model.state_dict())
    step, loss, norm = state.step + 1, outcome.terms["loss"], outcome.gradient_norm
    place = folder / "guard" / f"step-{step}"
    trouble = f"step {step} has a loss of {loss:g} with a gradient of norm {norm:g}"
    if ranks.rank == writer:
        facts = {
            "step": step,
            "stage": state.stage,
            "number": number,
            "trainee": trainee.name,
            "device": device,
            "seed": microbatch_seed(config.seed, state.stage, number),
            "precision": config.precision,
            "loss_of_step": repr(loss),
            "gradient_norm_of_step": repr(norm),
            **_facts(mine),
            "recipe": to_mapping(config),
            "model": to_mapping(getattr(trainee.model, "config", None)),
        }
        tensors = {**flatten(batches[index]), **{f"constants.{n}": t for n, t in trainee.constants.items()}}
        try:
            _write(place, facts, tensors, weights)
        except OSError as error:
            raise OutputError(f"{trouble}, and {place} could not be written ({error})") from error
    wait_for_all(ranks)
    first = f"; the first of it is {mine.culprit}" if mine.culprit else ""
    raise NonFiniteError(
        f"{trouble}{first}; the weights are as before it, and `sanakit train --replay {place}` repeats it"
    )


def examine(trainee: Trainee, batch: Any, seed: int, *, precision: Precision, device: str) -> StepDiagnosis:
    """The loss of one micro-batch and its gradient once more, with an eye on every module."""
    trainee.model.zero_grad(set_to_none=True)
    with _ranges(trainee.model) as ranges, attention_for(device):
        with autocast(device, precision):
            terms = trainee.loss(batch, torch.Generator().manual_seed(seed))
        terms["loss"].backward()
    values = {name: float(term.detach()) for name, term in terms.items() if term.ndim == 0}
    squares = {
        n: float(local(p.grad).double().square().sum())
        for n, p in trainee.model.named_parameters()
        if p.grad is not None
    }
    trainee.model.zero_grad(set_to_none=True)
    culprit = ""
    bad_modules = [name for name, (low, high) in ranges.items() if not math.isfinite(low) or not math.isfinite(high)]
    bad_gradients = [name for name, square in squares.items() if not math.isfinite(square)]
    bad_terms = [name for name, value in values.items() if not math.isfinite(value)]
    if bad_modules:
        low, high = ranges[bad_modules[0]]
        culprit = f"the output of {trainee.name}.{bad_modules[0]} ({low:g} to {high:g})"
    elif bad_terms:
        culprit = f"the term {bad_terms[0]!r} of the loss, while all outputs of {trainee.name} are finite"
    elif bad_gradients:
        culprit = f"the gradient of {trainee.name}.{bad_gradients[-1]}, while its outputs and the loss are finite"
    return StepDiagnosis(terms=values, gradient_norm=math.sqrt(sum(squares.values())), ranges=ranges, culprit=culprit)


def flatten(batch: Any, prefix: str = "batch") -> dict[str, Tensor]:
    """The tensors of a batch, by the path of their fields: ``batch.text.mask``."""
    tensors = {}
    for field in dataclasses.fields(batch):
        value, name = getattr(batch, field.name), f"{prefix}.{field.name}"
        if isinstance(value, Tensor):
            tensors[name] = value
        elif dataclasses.is_dataclass(value):
            tensors.update(flatten(value, name))
    return tensors


@contextmanager
def _ranges(model: nn.Module) -> Iterator[dict[str, tuple[float, float]]]:
    """Note the least and greatest output of every module, in the order in which they finish."""
    ranges: dict[str, tuple[float, float]] = {}

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.is_floating_point() and output.numel() and name not in ranges:
                wide = local(output.detach()).float()
                finite = bool(wide.isfinite().all())
                nan = bool(wide.isnan().any())
                ranges[name] = (math.nan, math.nan) if not finite and nan else (float(wide.min()), float(wide.max()))

        return hook

    handles = [module.register_forward_hook(note(name)) for name, module in model.named_modules() if name]
    try:
        yield ranges
    finally:
        for handle in handles:
            handle.remove()


def _facts(diagnosis: StepDiagnosis) -> dict[str, Any]:
    """Plain values; numbers that may not be finite as text, which every JSON reader takes."""
    return {
        "terms": {name: repr(value) for name, value in diagnosis.terms.items()},
        "gradient_norm": repr(diagnosis.gradient_norm),
        "culprit": diagnosis.culprit,
        "ranges": {name: [repr(low), repr(high)] for name, (low, high) in diagnosis.ranges.items()},
    }


def _write(place: Path, facts: Mapping[str, Any], tensors: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for name, content in (("batch", tensors), ("weights", weights), ("random", random_state())):
        save_file({n: t.detach().cpu().contiguous().clone() for n, t in content.items()}, place / f"{name}.safetensors")
    (place / BUNDLE_FILE).write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")
