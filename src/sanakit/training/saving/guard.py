"""What happens at the first number that is not one: the step is kept as a bundle, and the run stops."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from textwrap import shorten
from typing import Any, NoReturn

from torch import Tensor, nn

from sanakit.common.config import to_mapping
from sanakit.common.errors import OutputError, SanakitError
from sanakit.common.ranks import sum_over_ranks, wait_for_all
from sanakit.training.optimizers.shards import here
from sanakit.training.run.run_state import RunState
from sanakit.training.run.session import Session
from sanakit.training.saving.bundle import flatten, write_bundle
from sanakit.training.step.parallel import whole_state
from sanakit.training.step.step import Outcome, WeightedBatch, backward
from sanakit.training.step.trainee import Trainee


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
        per_sample: the loss of each sample; empty if the trainee's loss has none.
    """

    terms: dict[str, float]
    gradient_norm: float
    ranges: dict[str, tuple[float, float]]
    culprit: str
    per_sample: tuple[float, ...] = ()


def stop_at_bad_step(
    session: Session,
    trainee: Trainee,
    batches: Sequence[WeightedBatch],
    outcome: Outcome,
    state: RunState,
    networks: Mapping[str, nn.Module],
) -> NoReturn:
    """Find the micro-batch and the module, write the bundle, and raise. All processes must call; the weights stay.

    Args:
        networks: of all trainees of the step and their companions, by name; a loss may look at any of them.

    Raises:
        NonFiniteError: always.
    """
    found = [diagnose(session, trainee, micro) for micro in batches]
    index = next((i for i, diagnosis in enumerate(found) if diagnosis.culprit), 0)
    mine, ranks = found[index], session.ranks
    flags = sum_over_ranks([float(rank == ranks.rank and bool(mine.culprit)) for rank in range(ranks.world)], ranks)
    writer = next((rank for rank, flag in enumerate(flags) if flag), 0)
    weights = whole_state(trainee.model.state_dict())
    others = {
        f"{name}:{part}": tensor
        for name, network in networks.items()
        if network is not trainee.model
        for part, tensor in whole_state(network.state_dict()).items()
    }
    place = session.folder / "guard" / f"step-{state.step + 1}"
    trouble = (
        f"step {state.step + 1} has a loss of {outcome.terms['loss']:g} with a gradient of norm "
        f"{outcome.gradient_norm:g}"
    )
    samples = _worst_first(batches[index], mine)
    if ranks.rank == writer:
        facts = {
            "step": state.step + 1,
            "stage": state.stage,
            "stage_step": state.stage_step,
            "loss_of_step": repr(outcome.terms["loss"]),
            "gradient_norm_of_step": repr(outcome.gradient_norm),
            "samples": samples,
            **_facts(session, trainee, batches[index], mine),
        }
        try:
            content = {"constants": trainee.constants, "weights": weights, "others": others}
            write_bundle(place, facts, batches[index].batch, **content)
        except OSError as error:
            raise OutputError(f"{trouble}, and {place} could not be written ({error})") from error
    wait_for_all(ranks)
    first = f"; the first of it is {mine.culprit}" if mine.culprit else ""
    raise NonFiniteError(
        f"{trouble}{first}{_in_words(samples)}; the weights are as before it, and `sanakit train --replay {place}` "
        f"repeats it"
    )


def diagnose(session: Session, trainee: Trainee, micro: WeightedBatch) -> StepDiagnosis:
    """The loss of one micro-batch and its gradient once more, with an eye on every module."""
    trainee.model.zero_grad(set_to_none=True)
    with _ranges(trainee.model) as ranges:
        terms = backward(session, trainee, replace(micro, made=dict(micro.made)))
    values = {name: float(term.detach()) for name, term in terms.items() if term.ndim == 0}
    squares = {
        n: float(here(p.grad).double().square().sum())
        for n, p in trainee.model.named_parameters()
        if p.grad is not None
    }
    trainee.model.zero_grad(set_to_none=True)
    culprit = _culprit(trainee.name, ranges, values, squares)
    norm, losses = math.sqrt(sum(squares.values())), terms.get("per_sample")
    per_sample = () if losses is None else tuple(losses.detach().float().reshape(-1).tolist())
    return StepDiagnosis(terms=values, gradient_norm=norm, ranges=ranges, culprit=culprit, per_sample=per_sample)


def _worst_first(micro: WeightedBatch, diagnosis: StepDiagnosis) -> list[dict[str, str]]:
    """The samples of a micro-batch by name, with the loss and the greatest number in the batch of each: those that are
    not finite first, then by loss, then by that number."""
    named = micro.describe()
    losses = diagnosis.per_sample if len(diagnosis.per_sample) == len(named) else (math.nan,) * len(named)
    extents = [0.0] * len(named)
    for tensor in flatten(micro.batch).values() if named else ():
        if tensor.is_floating_point() and len(tensor) == len(named):
            rows = here(tensor).float().abs().flatten(1).amax(1).tolist()  # NaN if one is
            extents = [max(old, new) if new == new else new for old, new in zip(extents, rows, strict=True)]

    def badness(row: int) -> tuple[bool, bool, float, float]:
        loss, extent = losses[row], extents[row]
        return (
            not math.isfinite(extent), not math.isfinite(loss),
            loss if math.isfinite(loss) else 0.0, extent if math.isfinite(extent) else 0.0,
        )  # fmt: skip

    order = sorted(range(len(named)), key=badness, reverse=True)
    return [{**asdict(named[row]), "loss": repr(losses[row]), "greatest_number": repr(extents[row])} for row in order]


def _in_words(samples: Sequence[Mapping[str, str]]) -> str:
    """The worst sample, and how to go on without it."""
    if not samples:
        return ""
    worst = samples[0]
    told = f"{worst['file']}, {shorten(worst['caption'], 60)!r}" if worst["caption"] else worst["file"]
    return (
        f"; the worst of its {len(samples)} samples is {worst['key']} ({told}), and the recipe's "
        f"data: {{leave_out: [{json.dumps(worst['key'], ensure_ascii=False)}]}} goes on without it"
    )


def _culprit(
    name: str, ranges: Mapping[str, tuple[float, float]], terms: Mapping[str, float], squares: Mapping[str, float]
) -> str:
    """What is not finite first, in words: an output, a term of the loss, or else a gradient."""
    for module, (low, high) in ranges.items():
        if not math.isfinite(low) or not math.isfinite(high):
            return f"the output of {name}.{module} ({low:g} to {high:g})"
    for term, value in terms.items():
        if not math.isfinite(value):
            return f"the term {term!r} of the loss, while all outputs of {name} are finite"
    for parameter, square in reversed(list(squares.items())):
        if not math.isfinite(square):
            return f"the gradient of {name}.{parameter}, while its outputs and the loss are finite"
    return ""


@contextmanager
def _ranges(model: nn.Module) -> Iterator[dict[str, tuple[float, float]]]:
    """Note the least and greatest output of every module, in the order in which they finish."""
    ranges: dict[str, tuple[float, float]] = {}

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.is_floating_point() and output.numel() and name not in ranges:
                low, high = here(output.detach()).float().aminmax()  # NaN both, if one is
                ranges[name] = float(low), float(high)

        return hook

    handles = [module.register_forward_hook(note(name)) for name, module in model.named_modules() if name]
    try:
        yield ranges
    finally:
        for handle in handles:
            handle.remove()


def _facts(session: Session, trainee: Trainee, micro: WeightedBatch, diagnosis: StepDiagnosis) -> dict[str, Any]:
    """Plain values; numbers that may not be finite as text, which every JSON reader takes."""
    return {
        "number": micro.number,
        "trainee": trainee.name,
        "device": session.device,
        "seed": micro.seed,
        "precision": session.config.precision,
        "terms": {name: repr(value) for name, value in diagnosis.terms.items()},
        "gradient_norm": repr(diagnosis.gradient_norm),
        "culprit": diagnosis.culprit,
        "ranges": {name: [repr(low), repr(high)] for name, (low, high) in diagnosis.ranges.items()},
        "recipe": to_mapping(session.config),
        "model": to_mapping(getattr(trainee.model, "config", None)),
    }
